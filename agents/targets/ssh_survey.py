"""Looking at a device before anything is started there: one command, one answer."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from lwprof.agents.packing import program
from lwprof.agents.targets.ssh_link import Finished, SshLink
from lwprof.errors import DeviceError, DeviceTransient

# Room for the program, its logs and one result; models are asked for one by one.
MIN_FREE_BYTES = 16 * 2**20
OLDEST_PYTHON = (3, 8)
_ASK_S = 60.0

# $1 work folder or "", $2 interpreter or "", $3 the program's file name, $4 folder of leases.
# Prints key=value.
_SCRIPT = r"""
w=$1
if [ -z "$w" ]; then
  if [ -n "$XDG_CACHE_HOME" ]; then w=$XDG_CACHE_HOME/lwprof
  elif [ -n "$HOME" ] && [ "$HOME" != / ]; then w=$HOME/.cache/lwprof
  else w=/var/tmp/lwprof; fi
fi
case $w in "~/"*) w=$HOME/${w#"~/"};; esac
echo "workdir=$w"
echo "machine=$(uname -m 2>/dev/null)"
echo "system=$(uname -s 2>/dev/null)"
if m=$(mkdir -p "$w/blobs" 2>&1); then
  f=$w/probe-$$
  if m=$( (echo 'exit 7' > "$f") 2>&1 ) && [ -s "$f" ]; then
    chmod 700 "$f"; "$f" 2>/dev/null; echo "exec=$?"
    chmod 700 "$w"
    find "$w/blobs" -name '*.incoming-*' -mmin +60 -exec rm -f {} + 2>/dev/null
  else echo "write=${m:-the disk is full}"; fi
  rm -f "$f"
else echo "write=$m"; fi
d=$w; while [ ! -d "$d" ] && [ "$d" != / ]; do d=$(dirname "$d"); done
echo "free_kb=$(df -Pk "$d" 2>/dev/null | awk 'END { print $4 }')"
p=$2
if [ -z "$p" ] && [ -x "$w/venv/bin/python" ]; then p=$w/venv/bin/python; fi
[ -n "$p" ] || p=python3
p=$(command -v "$p" 2>/dev/null || echo "$p")
echo "python=$p"
echo "version=$("$p" -I -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>&1 | tail -n 1)"
s=$( (sha256sum "$w/$3" || shasum -a 256 "$w/$3") 2>/dev/null | cut -c 1-64 )
echo "program=$s"
for f in /proc/device-tree/compatible /sys/firmware/devicetree/base/compatible; do
  [ -f "$f" ] && { echo "compatible=$(tr '\000' ' ' < "$f")"; break; }
done
for f in "$4"/held.*; do [ -f "$f" ] && echo "held=$(head -c 4096 "$f")"; done
"""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        workdir: absolute path of the one folder that we use there.
        python: path of the interpreter.
        version: its version; what it said instead, where it does not run.
        free_bytes: space at the work folder; None where the device does not tell.
        unwritable: why nothing can be written there; "" when all is well.
        executes: whether programs may be run from there.
        program_sha256: digest of the agent's program there; "" when absent or unknown.
        machine: as ``uname -m`` prints it.
        system: as ``uname -s`` prints it.
        held: what the files of the device's lease say, whether they are held or left over.
        compatible: what the device tree says the board is, the most specific text first.
    """

    workdir: str
    python: str
    version: str
    free_bytes: int | None
    unwritable: str
    executes: bool
    program_sha256: str
    machine: str
    system: str
    held: tuple[str, ...] = ()
    compatible: tuple[str, ...] = ()

    @property
    def python_version(self) -> tuple[int, ...] | None:
        """The interpreter's version; None where there is none."""
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", self.version)
        return tuple(int(part) for part in match.groups()) if match else None


def survey(link: SshLink) -> Survey:
    """Looks at the device; makes the work folder.

    Raises:
        LwprofError: it cannot be reached.
        DeviceError: its answer is none.
    """
    settings = link.settings
    words = (settings.workdir or "", settings.python or "", program().file_name,
             settings.leases)  # fmt: skip
    script = f"set -- {' '.join(shlex.quote(word) for word in words)}\n{_SCRIPT}"
    done = link.run(script, timeout_s=_ASK_S)
    found: dict[str, str] = {}
    held: list[str] = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if key == "held":
            held.append(value)
        elif equals:
            found.setdefault(key, "".join(c for c in value if c.isprintable())[:1000])
    workdir = found.get("workdir", "")
    if not workdir.startswith("/"):
        raise DeviceError(f"{link.name}: the work folder {workdir!r} is no absolute path: set one "
                          "with --workdir when adding the device")  # fmt: skip
    free = found.get("free_kb", "")
    return Survey(
        workdir=workdir.rstrip("/") or "/",
        python=found.get("python", ""),
        version=found.get("version", ""),
        free_bytes=int(free) * 1024 if free.isdigit() and len(free) < 16 else None,
        unwritable=found.get("write", ""),
        executes=found.get("exec") == "7",
        program_sha256=found.get("program", ""),
        machine=found.get("machine", ""),
        system=found.get("system", ""),
        held=tuple(held),
        compatible=tuple(found.get("compatible", "").split()),
    )


def require_usable(name: str, found: Survey) -> None:
    """Refuses a device on which the agent could not run.

    Raises:
        DeviceError: says what is missing and how to mend it.
    """
    # First, since shells word a full disk in many ways.
    if found.free_bytes is not None and 0 <= found.free_bytes < MIN_FREE_BYTES:
        raise DeviceError(
            f"{name}: only {found.free_bytes // 2**20} MiB are free at {found.workdir}: free some "
            f"space, or 'lwprof devices clean {name}'"
        )
    if found.unwritable:
        raise unwritable(name, found.workdir, found.unwritable)
    if found.system not in ("Linux", "Android", ""):
        raise DeviceError(f"{name}: runs {found.system}, and boards are measured under Linux only")
    version = found.python_version
    if version is None:
        said = found.version or "not found"
        raise DeviceError(f"{name}: {found.python} does not run ({said}): install Python 3.8 or "
                          "newer there (apt install python3), or name it with --python when "
                          "adding the device")  # fmt: skip
    if version < OLDEST_PYTHON:
        raise DeviceError(f"{name}: {found.python} is Python {found.version}, and the agent needs "
                          "3.8 or newer: install one and name it with --python")  # fmt: skip
    if found.python.startswith(found.workdir + "/") and not found.executes:
        raise DeviceError(f"{name}: programs may not be run from {found.workdir} (mounted "
                          "noexec): choose another folder with --workdir")  # fmt: skip


def unwritable(name: str, folder: str, why: str) -> DeviceError:
    """The error for a folder that cannot be written, by what the device said."""
    low = why.lower()
    if "no space" in low or "disk is full" in low or "quota" in low:
        return DeviceError(f"{name}: the disk at {folder} is full: free some space, or "
                           f"'lwprof devices clean {name}'")  # fmt: skip
    if "read-only" in low:
        return DeviceError(f"{name}: {folder} is on a read-only file system: remount it, or choose "
                           "another folder with --workdir")  # fmt: skip
    return DeviceError(f"{name}: cannot write to {folder} ({why[-300:]}): choose another folder "
                       "with --workdir")  # fmt: skip


def explain_failed_write(name: str, folder: str, done: Finished) -> DeviceError:
    """The error for an upload that the device refused."""
    if not done.stderr:
        return DeviceTransient(f"{name}: a file arrived damaged")
    return unwritable(name, folder, done.stderr.splitlines()[-1])
