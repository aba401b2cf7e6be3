"""RAPL: energy counters of x86 packages, through powercap.

Counters wrap at ``max_energy_range_uj``. Domains overlap (psys holds the package, the
package its cores), so one is taken, never a sum over kinds.
"""

from __future__ import annotations

from typing import Any, List, Tuple

from ..system import find, read_count, read_text
from .files import FileSensor, scaled
from .sensor import ENERGY, PART, SEPARATE, TOTAL, Missing, Rail

_PERIOD_S = 1e-3  # the registers move about every millisecond, without a time stamp
_READ_S = 20e-3
_INCLUDES = {
    "core": ["cpu"], "uncore": ["gpu"], "dram": ["memory"], "psys": ["board"],
}  # fmt: skip
_HIGHEST_UW = 2000e6


def probe() -> List[Any]:
    """All readable domains as one sensor, and what is there but forbidden."""
    domains: List[Tuple[str, str]] = []
    forbidden: List[Tuple[str, str]] = []
    folders = find("/sys/class/powercap/intel-rapl:*")
    for folder in folders:
        name = read_text(folder + "/name")
        if not name:
            continue
        parent = folder.rsplit("/", 1)[1].split(":")
        label = name if name.startswith(("package", "psys")) else "%s-%s" % (name, parent[1])
        readable = read_count(folder + "/energy_uj") is not None
        (domains if readable else forbidden).append((folder, label))
    found: List[Any] = []
    if forbidden:
        found.append(
            Missing(
                "rapl",
                ", ".join(label for _, label in forbidden),
                "the counters can only be read by root",
                "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
            )
        )
    if domains:
        found.append(_sensor(domains))
    return found


def _sensor(domains: List[Tuple[str, str]]) -> FileSensor:
    packages = [label for _, label in domains if label.startswith("package")]
    psys = any(label.startswith("psys") for _, label in domains)
    rails = []
    for folder, label in domains:
        kind = label.split("-")[0]
        if psys:
            role = TOTAL if kind == "psys" else PART
        elif kind == "package":
            role = TOTAL if len(packages) == 1 else SEPARATE
        else:
            role = SEPARATE if kind == "dram" else PART
        includes = _INCLUDES.get(kind, ["package"])
        wrap = read_count(folder + "/max_energy_range_uj") or None
        # The counter's step is 15.3, 61 or 0.06 µJ by model; the first is the largest of most.
        rails.append(
            Rail(label, includes, ENERGY, role, resolution=61.0, wrap=wrap, high=_HIGHEST_UW)
        )
    sensor = FileSensor(
        "powercap", rails, _READ_S, [[folder + "/energy_uj"] for folder, _ in domains],
        scaled(1), [(folder + "/name", read_text(folder + "/name") or "") for folder, _ in domains],
    )  # fmt: skip
    sensor.family = "rapl"
    sensor.averaging_s = _READ_S  # a counter misses nothing between two readings
    sensor.lag_s = _PERIOD_S
    sensor.notes.append("a model of the processor on some machines, a measurement on others")
    if len(packages) > 1 and not psys:
        sensor.whole = "the machine has several packages: each is a total of its own socket"
    return sensor
