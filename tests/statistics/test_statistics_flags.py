"""Flags: each covariate on its own, at both sides of its threshold, and absent."""

import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof.profiler.statistics import block_flags, fitness
from lwprof.profiler.statistics.flags import explain

QUIET = {
    "before": {"governors": {"cpu0": "performance"}, "frequencies_hz": {"cpu0": 1_500_000_000}},
    "after": {"frequencies_hz": {"cpu0": 1_450_000_000}},
    "delta": {"competing_cpu_fraction": 0.05, "capacity_s": 4.0, "steal_fraction": 0.0,
              "steal_s": 0.0, "run_delay_fraction": 0.01, "swap_in_pages": 0,
              "swap_out_pages": 3, "major_faults": 900, "throttle_counts": 0, "oom_kills": 0,
              "throttled_bits": 0, "throttled_bits_new": 0, "max_temp_c": 62.0},
}  # fmt: skip
WORKER = {"nonvoluntary_switches": 10, "cpu_s": 2.0, "wall_s": 3.0, "major_faults": 120,
          "swap_bytes": 0}  # fmt: skip


def flags(worker=None, context=None, before=None, after=None, **delta):
    environment = {
        "before": {**QUIET["before"], **(before or {})},
        "after": {**QUIET["after"], **(after or {})},
        "delta": {**QUIET["delta"], **delta},
    }
    return block_flags(environment, {**WORKER, **(worker or {})}, context or {})


def test_a_quiet_block_has_none():
    assert flags() == []
    assert block_flags({}, {}, {}) == []
    assert block_flags({"before": None, "after": 3, "delta": []}, {}, {}) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"competing_cpu_fraction": 0.3}, "competing_load"),
        ({"steal_fraction": 0.1, "steal_s": 0.2}, "steal"),
        ({"run_delay_fraction": 0.2}, "waited_for_cpu"),
        ({"throttle_counts": 1}, "throttled"),
        ({"throttled_bits": 0b0001}, "under_voltage"),
        ({"throttled_bits": 0b0010}, "frequency_capped"),
        ({"throttled_bits_new": 0b0100 << 16}, "throttled"),
        ({"throttled_bits_new": 0b1000 << 16}, "soft_temperature_limit"),
        ({"after": {"cooling": {"cooling_device0:thermal-cpufreq-0": 2}}}, "throttled"),
        ({"after": {"frequencies_hz": {"cpu0": 600_000_000}}}, "frequency_changed"),
        ({"max_temp_c": 96.0}, "hot"),
        ({"max_temp_c": 62.0, "context": {"max_temp_c": 60.0}}, "hot"),
        ({"swap_out_pages": 1000}, "swapping"),
        ({"worker": {"swap_bytes": 4096}}, "swapping"),
        ({"worker": {"major_faults": 4000}}, "major_faults"),
        ({"oom_kills": 1}, "out_of_memory"),
    ],
)
def test_each_disturbance_is_named(change, name):
    assert flags(**change) == [name]


@pytest.mark.parametrize(
    "change",
    [
        # 25 ms of processor time are two ticks: nothing is proven.
        {"competing_cpu_fraction": 0.5, "capacity_s": 0.05},
        {"steal_fraction": 0.2, "steal_s": 0.02},
        # A fan at work is no throttling.
        {"after": {"cooling": {"cooling_device1:pwm-fan": 3}}},
        # Under a governor that follows the load the clock between blocks is the idle one.
        {"before": {"governors": {"cpu0": "schedutil"}},
         "after": {"frequencies_hz": {"cpu0": 600_000_000}}},
        # Cold caches: many faults, but not at a rate that lasts.
        {"worker": {"major_faults": 600, "wall_s": 30.0}},
        {"worker": {"nonvoluntary_switches": 5000}},
    ],
)  # fmt: skip
def test_what_proves_nothing_flags_nothing(change):
    assert flags(**change) == []


def test_switches_stand_in_where_waiting_is_not_told():
    delta = {key: v for key, v in QUIET["delta"].items() if key != "run_delay_fraction"}
    worker = {**WORKER, "nonvoluntary_switches": 5000}
    assert block_flags({"delta": delta}, worker, {}) == ["preempted"]


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(QUIET["delta"])),
                       st.none() | st.text(max_size=3) | st.booleans() | st.just(math.nan)))  # fmt: skip
def test_odd_covariates_flag_nothing(delta):
    assert block_flags({"delta": delta}, {}, {}) == []


def test_the_latency_is_no_argument():
    assert list(inspect.signature(block_flags).parameters) == ["environment", "worker", "context"]


def test_fitness():
    assert fitness([[], [], ["steal"]]) == ("ok", None)
    assert fitness([[], ["steal"]]) == ("ok", None)
    assert fitness([[], ["steal"], ["hot", "steal"]]) == ("unfit", "environment")
    assert fitness([]) == ("unfit", "undecided")
    assert (
        explain([[], ["steal"], ["hot", "steal"]]) == "steal in 2 of 3 blocks, hot in 1 of 3 blocks"
    )
