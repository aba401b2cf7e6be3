"""Which agent measures a device: the ordinary one, or the native one."""

from __future__ import annotations

from importlib import metadata

from lwprof.agents.client import Agent
from lwprof.agents.native.agent import NativeAgent
from lwprof.agents.targets import Target
from lwprof.agents.targets._carrier import Carrier
from lwprof.agents.targets.adb import AdbTarget

_ASK_S = 60.0
_HAS = "import importlib.util as u; raise SystemExit(u.find_spec({!r}) is None)"


def choose(target: Target, runtime: str | None = None) -> Agent:
    """The agent for a device.

    Where the device has Python and the runtime, the ordinary agent is used. TVM needs
    neither: its kernels are compiled here and carried there with the native agent.

    Args:
        target: reaches the device.
        runtime: what will be measured; None: a phone without Python gets the native agent.
    """
    carrier, python = _carrier(target)
    if carrier is None or (runtime != "tvm" and not isinstance(target, AdbTarget)):
        return Agent(target)
    if python is not None and _has(carrier, python, runtime or "onnxruntime"):
        return Agent(target)
    if runtime not in (None, "tvm"):
        return Agent(target)  # which says what is missing there
    return NativeAgent(carrier, runtime=_tvm_version())


def _carrier(target: Target) -> tuple[Carrier | None, str | None]:
    """The target as one that carries programs, and the device's Python."""
    if isinstance(target, AdbTarget):
        return target, target.python
    if type(target).__name__ == "SshTarget":  # paramiko is slow to import
        from lwprof.agents.targets.ssh import SshTarget
        from lwprof.agents.targets.ssh_carrier import SshCarrier

        assert isinstance(target, SshTarget)
        carrier = SshCarrier(target)
        return carrier, carrier.python
    return None, None


def _has(carrier: Carrier, python: str, module: str) -> bool:
    return carrier.run([python, "-c", _HAS.format(module)], _ASK_S).status == 0


def _tvm_version() -> str | None:
    """Version of this machine's TVM, without the seconds that importing it takes."""
    try:
        return metadata.version("apache-tvm")
    except metadata.PackageNotFoundError:
        return None
