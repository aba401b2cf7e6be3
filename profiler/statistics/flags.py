"""Which blocks something else disturbed: from covariates only.

The latency is not an argument here, and must not become one: leaving out slow blocks
because they are slow biases every interval. A covariate that the device does not tell
is absent and flags nothing; ``lwprof devices doctor`` says what is not watched.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

COMPETING_CPU_FRACTION = 0.20
"""Share of the whole machine's processor time that others used while we timed."""

STEAL_FRACTION = 0.05
"""Share of the wanted processor time that a hypervisor gave to other machines."""

RUN_DELAY_FRACTION = 0.05
"""Share of the wanted processor time that our workers waited, ready to run."""

PREEMPTIONS_PER_S = 100.0
"""Involuntary switches per second of our processor time; used where waiting is not told.
An undisturbed worker shows under 20, one that shares its core some hundreds."""

LEAST_DISTURBANCE_S = 0.03
"""Processor time is counted in ticks of 10 ms; less than three of them prove nothing."""

SWAPPED_PAGES = 64
"""Pages swapped in or out, on the whole machine, during a block."""

MAJOR_FAULTS_PER_S = 100.0
"""Page faults of our worker that had to wait for storage, per second of its life …"""

LEAST_MAJOR_FAULTS = 500
"""… and at least as many: loading a program from a cold disk causes some hundreds."""

FREQUENCY_CHANGE = 0.20
"""Relative change of the fastest core's clock over a block under a fixed governor."""

LIMIT_CHANGE = 0.05
"""Relative fall of the highest clock that the kernel allows, within the timed windows."""

LOW_BATTERY_PERCENT = 20.0
"""Phones begin to save power at about this charge."""

MAX_TEMP_C = 95.0
"""Where the board's profile names no limit (``max_temp_c`` in the context)."""

_FIXED_GOVERNORS = frozenset({"performance", "userspace"})
_BITS = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
_COOLS_PROCESSOR = ("cpu", "processor", "powerclamp")

FITNESS_SHARE = 0.5
"""A measurement of which fewer blocks than this share are undisturbed is unfit."""


def block_flags(
    environment: Mapping[str, Any], worker: Mapping[str, Any], context: Mapping[str, Any]
) -> list[str]:
    """What disturbed a block, by name; an empty list is a fit block.

    Args:
        environment: ``before``, ``after`` and ``delta`` of the agent's block record.
        worker: one worker's record.
        context: the measurement's context; ``max_temp_c`` where the board has a limit;
            ``high_limit_hz`` and ``high_freq_hz``: the highest seen so far in the session.

    Returns:
        Of ``competing_load``, ``steal``, ``waited_for_cpu``, ``preempted``, ``throttled``,
        ``under_voltage``, ``frequency_capped``, ``soft_temperature_limit``,
        ``frequency_changed``, ``hot``, ``low_battery``, ``swapping``, ``major_faults``, ``out_of_memory``;
        sorted.
    """
    before, after, delta = (_mapping(environment, key) for key in ("before", "after", "delta"))
    seen = _mapping(delta, "seen")
    found = {
        *_seen_flags(before, seen, context),
        *_processor_flags(delta, worker),
        *_throttle_flags(before, after, delta),
        *_frequency_flags(before, after),
        *_heat_flags(delta, context),
        *_memory_flags(delta, worker),
        *_battery_flags(before, after),
    }
    return sorted(found)


def fitness(
    blocks_flags: Sequence[Sequence[str]],
) -> tuple[Literal["ok", "unfit"], str | None]:
    """Whether enough blocks were undisturbed.

    Args:
        blocks_flags: the flags of each block.

    Returns:
        ("ok", None); ("unfit", "environment") when fewer than ``FITNESS_SHARE`` of the
        blocks are free of flags; ("unfit", "undecided") without any block.
    """
    if not blocks_flags:
        return "unfit", "undecided"
    clean = sum(1 for flags in blocks_flags if not flags)
    return ("ok", None) if clean >= FITNESS_SHARE * len(blocks_flags) else ("unfit", "environment")


def explain(blocks_flags: Sequence[Sequence[str]]) -> str:
    """The flags in words, most frequent first: ``competing_load in 7 of 12 blocks, …``."""
    counts = Counter(flag for flags in blocks_flags for flag in set(flags))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{flag} in {count} of {len(blocks_flags)} blocks" for flag, count in ranked)


def _processor_flags(delta: Mapping[str, Any], worker: Mapping[str, Any]) -> list[str]:
    found = []
    capacity = _number(delta, "capacity_s", math.inf)
    competing = _number(delta, "competing_cpu_fraction")
    if competing > COMPETING_CPU_FRACTION and competing * capacity >= LEAST_DISTURBANCE_S:
        found.append("competing_load")
    stolen_s = _number(delta, "steal_s", math.inf)
    if _number(delta, "steal_fraction") > STEAL_FRACTION and stolen_s >= LEAST_DISTURBANCE_S:
        found.append("steal")
    if "run_delay_fraction" in delta:
        if _number(delta, "run_delay_fraction") > RUN_DELAY_FRACTION:
            found.append("waited_for_cpu")
    elif _rate(worker, "nonvoluntary_switches", "cpu_s") > PREEMPTIONS_PER_S:
        found.append("preempted")
    return found


def _throttle_flags(
    before: Mapping[str, Any], after: Mapping[str, Any], delta: Mapping[str, Any]
) -> list[str]:
    found = []
    if _number(delta, "throttle_counts") > 0:
        found.append("throttled")
    # A Raspberry Pi's firmware: bits 0-3 are now, 16-19 since the boot.
    now = int(_number(delta, "throttled_bits"))
    new = int(_number(delta, "throttled_bits_new")) >> 16
    found += [name for bit, name in _BITS.items() if (now | new) >> bit & 1]
    for state in (before, after):
        for name, step in _mapping(state, "cooling").items():
            cools = any(part in str(name).lower() for part in _COOLS_PROCESSOR)
            if cools and isinstance(step, int) and step > 0:
                found.append("throttled")
    return found


def _seen_flags(
    before: Mapping[str, Any], seen: Mapping[str, Any], context: Mapping[str, Any]
) -> list[str]:
    """Of what came and went within the timed windows."""
    bits = int(_number(seen, "throttled_bits"))
    found = [name for bit, name in _BITS.items() if bits >> bit & 1]
    if seen.get("under_voltage") is True:
        found.append("under_voltage")
    if _number(seen, "max_cooling") > 0:
        found.append("throttled")
    # A block that lies wholly within an episode shows no change: the session's best does.
    limit = max(_number(seen, "high_limit_hz"), _number(context, "high_limit_hz"))
    if "high_limit_hz" in seen and _number(seen, "low_limit_hz") < (1 - LIMIT_CHANGE) * limit:
        found.append("frequency_capped")
    fixed = set(_mapping(before, "governors").values())
    clock = max(_number(seen, "high_freq_hz"), _number(context, "high_freq_hz"))
    slowest = _number(seen, "low_freq_hz")
    if (
        fixed
        and fixed <= _FIXED_GOVERNORS
        and "high_freq_hz" in seen
        and slowest < (1 - FREQUENCY_CHANGE) * clock
    ):
        found.append("frequency_changed")
    if _number(seen, "max_temp_c", -math.inf) >= _number(context, "max_temp_c", MAX_TEMP_C):
        found.append("hot")
    return found


def _battery_flags(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = []
    for state in (_mapping(before, "battery"), _mapping(after, "battery")):
        if _number(state, "capacity_percent", 100.0) < LOW_BATTERY_PERCENT:
            found.append("low_battery")
    return found


def _frequency_flags(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    # Under a governor that follows the load the clock read between blocks is the
    # idle one and says nothing about the block.
    governors = set(_mapping(before, "governors").values())
    if not governors or not governors <= _FIXED_GOVERNORS:
        return []
    first, last = (
        max((f for f in _mapping(state, "frequencies_hz").values() if f), default=0)
        for state in (before, after)
    )
    if first and last and abs(last - first) > FREQUENCY_CHANGE * max(first, last):
        return ["frequency_changed"]
    return []


def _heat_flags(delta: Mapping[str, Any], context: Mapping[str, Any]) -> list[str]:
    limit = _number(context, "max_temp_c", MAX_TEMP_C)
    return ["hot"] if _number(delta, "max_temp_c", -math.inf) >= limit else []


def _memory_flags(delta: Mapping[str, Any], worker: Mapping[str, Any]) -> list[str]:
    found = []
    pages = _number(delta, "swap_in_pages") + _number(delta, "swap_out_pages")
    if pages > SWAPPED_PAGES or _number(worker, "swap_bytes") > 0:
        found.append("swapping")
    many = _number(worker, "major_faults") >= LEAST_MAJOR_FAULTS
    if many and _rate(worker, "major_faults", "wall_s") > MAJOR_FAULTS_PER_S:
        found.append("major_faults")
    if _number(delta, "oom_kills") > 0:
        found.append("out_of_memory")
    return found


def _rate(record: Mapping[str, Any], count: str, seconds: str) -> float:
    duration = _number(record, seconds)
    return _number(record, count) / duration if duration > 0 else 0.0


def _number(record: Mapping[str, Any], key: str, default: float = 0.0) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return default
    return float(value)


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}
