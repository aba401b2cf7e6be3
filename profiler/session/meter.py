"""Which power sensor and rails stand for a device's energy, and what they leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.agents import Agent
from lwprof.agents.native import NativeAgent
from lwprof.agents.power_messages import Instruments, Missing
from lwprof.errors import UsageError
from lwprof.profiler.statistics.energy import windows_for
from lwprof.profiler.statistics.power import Rail

# Where no rail stands for the whole, what a provider's work draws from.
_WORKS = {"CPU": ("cpu", "memory"), "CUDA": ("gpu", "memory"), "Tensorrt": ("gpu", "memory")}


@dataclass(frozen=True, slots=True)
class Meter:
    """One sensor and the rails of it whose sum is reported.

    Attributes:
        sensor: as the agent describes it.
        labels: the rails; more than one only where they are separate supplies.
    """

    sensor: Mapping[str, Any]
    labels: tuple[str, ...]

    @property
    def rails(self) -> tuple[Rail, ...]:
        """The rails as the estimators want them."""
        return tuple(Rail.from_json(self.sensor, label) for label in self.labels)

    @property
    def known(self) -> dict[str, Any]:
        """What a step test found, which the device itself does not tell."""
        names = ("lag_s", "averaging_s") if "step_test" in self.sensor else ()
        return {name: self.sensor[name] for name in names}

    @property
    def run_s(self) -> float:
        """Seconds of work in one window that the sensor can resolve."""
        return windows_for(self.rails[0].period_s, self.rails[0].settle_s)[0]

    @property
    def idle_s(self) -> float:
        """Seconds of an idle stretch."""
        return windows_for(self.rails[0].period_s, self.rails[0].settle_s)[1]

    def scope(self) -> dict[str, Any]:
        """What the joules are of, for every result."""
        sensor = self.sensor
        out: dict[str, Any] = {
            "sensor": f"{sensor['family']}:{sensor['name']}",
            "rails": list(self.labels),
            "includes": sorted({what for rail in self.rails for what in rail.includes}),
            "calibrated": False,
            "period_s": sensor["period_s"],
        }
        for name in ("averaging_s", "lag_s", "gain_error", "whole", "sysroot", "step_test"):
            if sensor.get(name) is not None:
                out[name] = sensor[name]
        if sensor.get("notes"):
            out["notes"] = list(sensor["notes"])
        return out


def instruments_of(agent: Agent) -> Instruments:
    """The device's power sensors; none where the agent cannot read any."""
    if isinstance(agent, NativeAgent):
        why = "the agent for devices without Python reads no power sensor"
        return Instruments(sensors=[], missing=[Missing(family="none", name="device", why=why)])
    return agent.instruments()


def choose(found: Instruments, provider: str, rails: Sequence[str] = ()) -> Meter | None:
    """The sensor and rails to use; None where there is none.

    The first sensor with a rail for the whole wins; else the separate rails that the
    provider's work draws from, of the first sensor that has them.

    Args:
        found: what the device has.
        provider: execution provider, e.g. ``CPU``.
        rails: rails asked for by name; ``total`` insists on one for the whole.

    Raises:
        UsageError: the rails asked for do not exist, overlap, or there is no total.
    """
    sensors = [sensor.to_json() for sensor in found.sensors]
    if rails and list(rails) != ["total"]:
        return _named(sensors, tuple(rails))
    for sensor in sensors:
        total = [rail["label"] for rail in sensor["rails"] if rail["role"] == "total"]
        if total:
            return Meter(sensor, (total[0],))
    if rails:
        why = next((s["whole"] for s in sensors if s.get("whole")), "no sensor was found")
        raise UsageError(f"this device's energy has no total: {why}; name its rails instead")
    works = _WORKS.get(provider, ("cpu", "memory"))
    for sensor in sensors:
        parts = [
            rail["label"] for rail in sensor["rails"]
            if rail["role"] == "separate" and set(works) & set(rail["includes"])
        ]  # fmt: skip
        if parts:
            return Meter(sensor, tuple(parts))
    return None


def _named(sensors: Sequence[Mapping[str, Any]], labels: tuple[str, ...]) -> Meter:
    for sensor in sensors:
        roles = {rail["label"]: rail["role"] for rail in sensor["rails"]}
        if not set(labels) <= set(roles):
            continue
        if len(labels) > 1 and any(roles[label] != "separate" for label in labels):
            raise UsageError(
                f"the rails {', '.join(labels)} overlap, so their sum is nothing's energy: name "
                "one of them"
            )
        return Meter(sensor, labels)
    known = sorted({rail["label"] for sensor in sensors for rail in sensor["rails"]})
    raise UsageError(
        f"no sensor has the rails {', '.join(labels)}: choose among {', '.join(known) or 'none'}"
    )


def why_none(found: Instruments) -> str:
    """Why a device has no usable sensor, and what to do."""
    reasons = [f"{m.name}: {m.why}" + (f" ({m.advice})" if m.advice else "") for m in found.missing]
    return "; ".join(reasons) or "no power sensor was found: attach an external meter"
