"""What a device over ssh needs before it can be measured: each thing looked at, and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lwprof.device_profiles.check import Check
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from lwprof.agents import Agent, Facts
    from lwprof.agents.targets.ssh import SshTarget
    from lwprof.agents.targets.ssh_survey import Survey
    from lwprof.device_profiles import Device

_MIB = 2**20
_PINGS = 20


def examine_ssh(
    device: Device, install: bool, wheels: Path | None, say: Callable[[str], None]
) -> list[Check]:
    """All checks of a device that is reached by ssh.

    Args:
        install: put what is missing into a virtual environment on the device first.
        wheels: where to take it from; None: the device's own internet.
        say: told what is being done.

    Raises:
        LwprofError: what is missing cannot be installed.
    """
    from lwprof.agents.targets import settings_of
    from lwprof.agents.targets.ssh import SshTarget
    from lwprof.device_profiles import known_hosts_path
    from lwprof.errors import LwprofError

    with SshTarget(device.name, settings_of(device, known_hosts_path())) as target:
        try:
            found = target.survey()
        except LwprofError as error:
            return [Check("reach", "fail", str(error), "see there")]
        if install:
            from lwprof.agents.targets.ssh_installing import install as install_there

            install_there(target, wheels, say=say)
            found = target.look_again()
        checks = [Check("reach", "ok", f"{device.address}, host key known"), *_places(found)]
        if any(check.status == "fail" for check in checks):
            return checks
        return [*checks, *_running(device.name, target)]


def _places(found: Survey) -> list[Check]:
    checks = []
    if found.unwritable:
        checks.append(Check("work folder", "fail", f"{found.workdir}: {found.unwritable}",
                            "free or remount the disk, or choose another with --workdir"))  # fmt: skip
    elif not found.executes:
        checks.append(Check("work folder", "warn", f"{found.workdir} is mounted noexec",
                            "TVM and --install need another: choose it with --workdir"))  # fmt: skip
    else:
        checks.append(Check("work folder", "ok", found.workdir))
    free = found.free_bytes
    if free is None:
        checks.append(Check("disk", "warn", "free space is unknown", "run df there"))
    else:
        text = f"{format_quantity(free, 'B')} free"
        status = "fail" if free < 16 * _MIB else "warn" if free < 512 * _MIB else "ok"
        checks.append(Check("disk", status, text, "" if status == "ok" else "free some space"))  # type: ignore[arg-type]
    version = found.python_version
    if version is None or version < (3, 8):
        checks.append(Check("Python", "fail", f"{found.python}: {found.version or 'not found'}",
                            "apt install python3 there (3.8 or newer)"))  # fmt: skip
    else:
        checks.append(Check("Python", "ok", f"{found.version} ({found.python})"))
    return checks


def _running(name: str, target: SshTarget) -> list[Check]:
    from lwprof.agents import Agent
    from lwprof.errors import LwprofError

    try:
        with Agent(target) as agent:
            facts = agent.facts()
            return [_link(agent), *_runtimes(name, facts), _environment(facts), _governor(facts),
                    _sensors(agent)]  # fmt: skip
    except LwprofError as error:
        return [Check("agent", "fail", str(error), "see there")]


def _link(agent: Agent) -> Check:
    offset = agent.clock_offset(_PINGS)
    text = f"round trip {format_quantity(offset.round_trip_s, 's')}"
    if offset.round_trip_s > 0.2:
        return Check("link", "warn", text, "a nearer network makes measuring quicker, not better")
    return Check("link", "ok", text)


def _runtimes(name: str, facts: Facts) -> list[Check]:
    checks = []
    ort = facts.runtimes.get("onnxruntime")
    if ort is None or ort.error is not None:
        why = "not installed" if ort is None else f"unusable: {ort.error}"
        checks.append(Check("ONNX Runtime", "fail", why,
                            f"lwprof devices doctor {name} --install [--wheels DIR]"))  # fmt: skip
    else:
        checks.append(Check("ONNX Runtime", "ok", f"{ort.version}: {', '.join(ort.providers)}"))
    return checks


def _environment(facts: Facts) -> Check:
    text = f"{facts.environment}: {facts.model or facts.cpu or facts.machine}, {facts.os}"
    if facts.environment == "hardware":
        return Check("environment", "ok", text)
    return Check("environment", "warn", text, "every number is marked so")


def _governor(facts: Facts) -> Check:
    if not facts.governors:
        return Check("governor", "warn", "not told", "nothing, where the clock is fixed")
    text = ", ".join(facts.governors)
    if set(facts.governors) == {"performance"}:
        return Check("governor", "ok", text)
    return Check("governor", "warn", text, "sudo cpupower frequency-set -g performance there")


def _sensors(agent: Agent) -> Check:
    found = agent.instruments()
    names = [sensor.name for sensor in found.sensors]
    if names:
        return Check("energy sensor", "ok", ", ".join(names))
    for one in found.missing:
        advice = one.advice or "attach a power meter if you need energy"
        return Check("energy sensor", "warn", f"{one.name}: {one.why}", advice)
    return Check("energy sensor", "warn", "none", "attach a power meter if you need energy")
