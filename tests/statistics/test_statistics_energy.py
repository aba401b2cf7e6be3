"""Energy intervals against closed forms, simulation and rails whose joules are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.profiler.statistics import energy, kernel_energy, power, rails
from lwprof.profiler.statistics.energy import (
    Visit,
    energy_interval,
    joint_half_width,
    rounding_w,
    visits,
    windows_for,
)
from lwprof.profiler.statistics.student import student_t_quantile


def visit(power_w: float, idle_w: float = 2.0, **more: float) -> Visit:
    return Visit("x", power_w * 0.01, (power_w - idle_w) * 0.01, power_w, idle_w, 0.5, 50, **more)


def one_block(sensor: rails.Sensor, load: rails.Load, seed: int = 0) -> list[Visit]:
    rng = np.random.default_rng(seed)
    _, idle_s = windows_for(sensor.period_s, sensor.rail().settle_s)
    block = rails.block(rng, sensor, 2.0, [("x", load)], 0.4, idle_s)
    found = power.trace(sensor.rail(), block.t_ns, block.values, block.windows)
    return visits(found, block.windows)


# An unknown lag is taken to be two periods at most.
@pytest.mark.parametrize(
    "lag, told", [(0.0, True), (0.004, True), (0.02, True), (0.0, False), (0.004, False)]
)
def test_lag_and_averaging_do_not_move_energy(lag: float, told: bool) -> None:
    """A gapless sensor gives the exact energy, however late, whether or not that is known."""
    load = rails.Load(0.02, ((0.3, 6.0), (0.7, 1.0)), process=0.0)
    sensor = rails.Sensor(0.004, averaging_s=0.004, lag_s=lag, jitter=0.0, told=told)
    [found] = one_block(sensor, load)
    assert found.above_idle_j == pytest.approx(load.energy_j, rel=0.01)
    assert found.idle_w == pytest.approx(2.0, rel=1e-3)
    assert found.energy_j == pytest.approx(load.energy_j + 2.0 * 0.02, rel=0.01)


def test_phases_of_an_inference_do_not_bias_a_point_sensor() -> None:
    """The first 30 % of each inference draws six times the rest; windows are few inferences."""
    load = rails.Load(0.09, ((0.3, 6.0), (0.7, 1.0)), process=0.0)
    sensor = rails.Sensor(0.001, on_demand=True, told=False)
    found = [one_block(sensor, load, seed)[0].above_idle_j for seed in range(10)]
    assert np.mean(found) == pytest.approx(load.energy_j, rel=0.01)


def test_rounding_of_a_still_level_is_half_a_step() -> None:
    found = [visit(5.0, step_w=0.04) for _ in range(10)]
    # The uniform error of variance q²/12 is ± q/2.
    assert rounding_w(found, idle=False) == pytest.approx(0.02, rel=0.02)
    moving = [visit(5.0, step_w=0.04, spread_w=0.08) for _ in range(10)]
    assert rounding_w(moving, idle=False) < 1e-3
    assert rounding_w([visit(5.0)], idle=False) == 0.0


def test_rounding_follows_the_simulated_bias() -> None:
    """The variance of the mean of rounded Gaussians, over random levels, by simulation."""
    rng = np.random.default_rng(1)
    step, spread = 1.0, 0.25
    levels = rng.uniform(0, 1, 4000)
    errors = np.round(levels[:, None] + spread * rng.standard_normal((4000, 400))).mean(1) - levels
    seen = [visit(5.0, step_w=step, spread_w=math.sqrt(spread**2 + step**2 / 12))] * 2
    assert rounding_w(seen, idle=False) / math.sqrt(3) == pytest.approx(errors.std(), rel=0.1)


@pytest.mark.parametrize("error, uniform, df", [(1.0, 0.0, 9), (1.0, 2.0, 9), (0.1, 1.0, 5)])
def test_the_joint_interval_covers_by_simulation(error: float, uniform: float, df: int) -> None:
    rng = np.random.default_rng(2)
    half = joint_half_width(error, df, uniform, 0.95)
    draws = error * rng.standard_t(df, 200_000) + uniform * rng.uniform(-1, 1, 200_000)
    assert np.mean(np.abs(draws) <= half) == pytest.approx(0.95, abs=0.003)
    if uniform == 0.0:
        assert half == pytest.approx(student_t_quantile(0.975, df) * error)


def test_one_block_bounds_nothing() -> None:
    found = energy_interval([visit(5.0)])
    assert found.energy_j.value == pytest.approx(0.05) and math.isinf(found.energy_j.high)
    with pytest.raises(UsageError, match="no energy"):
        energy_interval([])


def test_total_is_above_idle_plus_idle() -> None:
    found = energy_interval([visit(p) for p in (4.9, 5.0, 5.2)])
    assert found.energy_j.value - found.above_idle_j.value == pytest.approx(0.02)
    assert found.power_w.value == pytest.approx(np.mean([4.9, 5.0, 5.2]))


def test_windows_resolve_the_sensor() -> None:
    assert windows_for(0.001, 0.005)[0] == 0.2
    assert windows_for(0.1, 0.4) == (pytest.approx(2.0), pytest.approx(1.4))


def test_an_energy_block_needs_idle_on_both_sides() -> None:
    times = [i * 10_000_000 for i in range(100)]
    window = power.Window(0.0, 0.99, 10, "x")
    values = [5_000_000 + 1000 * (i % 7) for i in range(100)]
    found = power.trace(power.Rail("r", averaging_s=0.01, lag_s=0.0), times, values, [window])
    with pytest.raises(UsageError, match="both sides"):
        visits(found, [window])


@pytest.mark.parametrize("kind", rails.KINDS)
def test_intervals_cover_known_joules(kind: str) -> None:
    """A seeded sample of what benchmarks/energy_coverage.py runs in full."""
    rng = np.random.default_rng(7)
    covered, rails_seen = 0, 40
    for _ in range(rails_seen):
        sensor, load = rails.random_sensor(rng, kind), rails.random_load(rng)
        blocks = 20 if sensor.period_s <= 0.0125 else 10
        _, idle_s = windows_for(sensor.period_s, sensor.rail().settle_s)
        found: list[Visit] = []
        for _ in range(blocks):
            block = rails.block(rng, sensor, 1.5, [("x", load)], 5.0 / blocks, idle_s, 0.02)
            try:
                read = power.trace(sensor.rail(), block.t_ns, block.values, block.windows)
                found += visits(read, block.windows)
            except power.SensorRefused:
                continue
        truth = load.energy_j + 1.5 * load.latency_s
        result = energy_interval(found).energy_j
        covered += result.low <= truth <= result.high
    # 38 of 40 are expected; fewer than 33 has a chance of one in a thousand at 95 %.
    assert covered >= 33


def loops_of(truth: dict[str, float], rng: np.random.Generator) -> list[kernel_energy.Loop]:
    """Loops of kernels a and b, copies of c, and two chains, with one percent of noise."""
    counts = [{"a": 1, "call": 1, "gap": 1}, {"b": 1, "call": 1, "gap": 1},
              {"c": 24, "call": 1, "gap": 24}, {"call": 1, "gap": 8},
              {"call": 1, "gap": 64}]  # fmt: skip
    out = []
    for columns in counts:
        energy_j = sum(n * truth[name] for name, n in columns.items())
        values = energy_j * (1 + 0.01 * rng.standard_normal(8))
        out.append(kernel_energy.Loop({k: float(v) for k, v in columns.items()}, list(values)))
    return out


TRUTH = {"a": 5e-3, "b": 2e-4, "c": 3e-6, "call": 4e-5, "gap": 1e-6}


def test_loops_give_kernels_back() -> None:
    solved = kernel_energy.solve(loops_of(TRUTH, np.random.default_rng(3)))
    assert solved.free == frozenset()
    found = kernel_energy.kernels(solved, {"a": 2.0, "b": 1.0, "c": 5.0})
    assert set(found.alone) == {"a", "b", "c"} and found.group_j is None
    for name, estimate in found.alone.items():
        assert estimate.value == pytest.approx(TRUTH[name], rel=0.05)
    network = {"a": 2.0, "b": 1.0, "c": 5.0, "call": 1.0, "gap": 8.0}
    total = solved.combined(network)
    assert total.low <= sum(n * TRUTH[k] for k, n in network.items()) <= total.high


def test_what_noise_hides_is_grouped_and_its_sum_kept() -> None:
    """Two kernels far below the noise of the call that comes with each loop."""
    truth = {**TRUTH, "b": 2e-7, "c": 1e-8}
    solved = kernel_energy.solve(loops_of(truth, np.random.default_rng(4)))
    found = kernel_energy.kernels(solved, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert set(found.alone) == {"a"} and set(found.group) == {"b", "c"}
    assert found.group_j is not None
    assert found.group_j.low <= truth["b"] + truth["c"] <= found.group_j.high


def test_columns_that_no_loop_separates_are_free() -> None:
    loops = [kernel_energy.Loop({"a": 1.0, "b": 1.0}, [1.0, 1.1, 0.9]),
             kernel_energy.Loop({"c": 1.0}, [2.0, 2.0, 2.1])]  # fmt: skip
    solved = kernel_energy.solve(loops)
    assert solved.free == {"a", "b"}
    found = kernel_energy.kernels(solved, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert set(found.alone) == {"c"} and found.group_j is not None
    assert found.group_j.value == pytest.approx(1.0)


def test_a_round_that_lacks_a_loop_is_left_out() -> None:
    loops = [kernel_energy.Loop({"a": 1.0}, [1.0, 2.0, math.nan]),
             kernel_energy.Loop({"b": 1.0}, [1.0, 1.0, 9.0])]  # fmt: skip
    solved = kernel_energy.solve(loops)
    assert solved.rounds_j.shape == (2, 2)
    with pytest.raises(UsageError, match="no loop tells"):
        solved.combined({"z": 1.0})
    with pytest.raises(UsageError, match="no round holds"):
        kernel_energy.solve([kernel_energy.Loop({"a": 1.0}, [math.nan])])


def test_closure_knows_both_intervals() -> None:
    sum_j = energy.mean_with_rounding(np.array([1.0, 1.02, 0.98]), 0.0)
    far = energy.mean_with_rounding(np.array([1.5, 1.52, 1.48]), 0.0)
    assert kernel_energy.energy_closure(sum_j, sum_j).closes
    found = kernel_energy.energy_closure(sum_j, far)
    assert not found.closes and found.error == pytest.approx(1.0 / 1.5 - 1)
