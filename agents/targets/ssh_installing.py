"""Installing a runtime on a device, into a virtual environment inside the work folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from lwprof.agents.targets.ssh import SshTarget
from lwprof.errors import DeviceError, UsageError

PACKAGES = ("numpy", "onnxruntime")

_VENV_S = 300.0
_INSTALL_S = 1800.0

# $1 interpreter, $2 folder. Debian's Python makes environments without pip at best.
_MAKE = """
set -e
if [ ! -x "$2/bin/python" ]; then
  "$1" -m venv "$2" >/dev/null 2>&1 || { rm -rf "$2"; "$1" -m venv --without-pip "$2"; }
fi
"$2/bin/python" -I -c 'import sys; print(sys.version_info[:2])'
"""


def install(
    target: SshTarget,
    wheels: Path | None = None,
    packages: Sequence[str] = PACKAGES,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Makes the device's private environment and installs packages into it.

    Args:
        target: the device.
        wheels: folder of wheels on this machine; the device then needs no internet. None:
            the device's pip fetches them.
        packages: what to install.
        say: told what is being done.

    Returns:
        The environment's interpreter on the device.

    Raises:
        UsageError: ``wheels`` holds none.
        DeviceError: it cannot be installed; says what pip said.
    """
    found = target.survey()
    venv = f"{found.workdir}/venv"
    base = target.link.settings.python or "python3"
    if found.python.startswith(venv):
        base = f"{venv}/bin/python"
    say(f"making {venv}")
    made = target.link.run(_with(_MAKE, base, venv), timeout_s=_VENV_S)
    if made.status != 0:
        raise DeviceError(f"{target.name}: cannot make {venv} ({_last(made.stderr)}): install "
                          "python3-venv there")  # fmt: skip
    python = f"{venv}/bin/python"
    carried = [] if wheels is None else _carry(target, wheels, f"{found.workdir}/wheels", say)
    pip = _pip(target, python, carried)
    command = [python, *pip, "install", "--disable-pip-version-check", "--no-input", "-q"]
    if wheels is not None:
        command += ["--no-index", "--find-links", f"{found.workdir}/wheels"]
    say(f"installing {', '.join(packages)}")
    done = target.link.run(f"{shlex.join([*command, *packages])} 2>&1", timeout_s=_INSTALL_S)
    if done.status != 0:
        said = _last(done.stdout.decode("utf-8", "replace"))
        hint = "add the missing wheels for its system and Python" if wheels else (
            "without internet there, give --wheels DIR")  # fmt: skip
        raise DeviceError(f"{target.name}: pip could not install ({said}): {hint}")
    return python


def _carry(target: SshTarget, wheels: Path, folder: str, say: Callable[[str], None]) -> list[str]:
    files = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if not files:
        raise UsageError(f"{wheels} holds no wheels: fetch them with 'pip download --dest {wheels} "
                         "--only-binary=:all: --platform manylinux2014_aarch64 onnxruntime pip'")  # fmt: skip
    for file in files:
        say(f"carrying {file.name}")
        target.put_file(file, f"{folder}/{file.name}")
    return [f"{folder}/{file.name}" for file in files]


def _pip(target: SshTarget, python: str, carried: Sequence[str]) -> list[str]:
    """How to call pip: the environment's own, else the wheel of pip that was carried along."""
    if target.link.run(shlex.join([python, "-m", "pip", "--version"])).status == 0:
        return ["-m", "pip"]
    for wheel in carried:
        if wheel.rpartition("/")[2].startswith("pip-"):
            return [f"{wheel}/pip"]
    raise DeviceError(f"{target.name}: its Python has no pip: install python3-venv there, or put "
                      "the wheel of pip among the --wheels")  # fmt: skip


def _with(script: str, *arguments: str) -> str:
    return f"set -- {shlex.join(arguments)}\n{script}"


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1][-300:] if c.isprintable()) if lines else "no reason given"
