"""Do energy intervals hold, and do damaged readings pass? On synthetic rails of known joules.

Bars: 95 % intervals cover in 93–97 % of at least 500 rails; half-width after 5 s of work at
most 3 % where the sensor averages 90 % of its period or is read at 200 Hz, else at most 1.3 ×
that rail's bound (the spread that a mean of its readings must have, times 1.96). Per kernel:
sum + idle closes on a network's window that the fit never saw on 95 % of rails, the sum's
half-width at most 5 %, rank correlation with the planted power at least 0.95. Damage: 10⁶
wraps, resets, lost, scaled, flipped and stuck readings: exact or refused, never wrong.

    python benchmarks/energy_coverage.py [--quick] [--json FILE] [--rails 900] [--seed 1]
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from figures import arguments, machine, save

from lwprof.profiler.statistics import energy, kernel_energy, power, rails
from lwprof.profiler.statistics.power import Rail, SensorRefused, Window

SHORT, LONG = 8, 64
ROUNDS = 10
GAP_W = 2.0


def work(sensor: rails.Sensor) -> tuple[int, float, float]:
    """Blocks, seconds of work in each (5 s in all), and of idling on each side."""
    blocks = 20 if sensor.period_s <= 0.0125 else 10
    _, idle_s = energy.windows_for(sensor.period_s, sensor.rail().settle_s)
    return blocks, 5.0 / blocks, idle_s


def one_rail(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """One random rail: whether its intervals hold, and how wide they are."""
    sensor, load = rails.random_sensor(rng, kind), rails.random_load(rng)
    idle_w, wander = float(rng.uniform(0.5, 4.0)), float(rng.choice([0.0, 0.02, 0.1]))
    blocks, run_s, idle_s = work(sensor)
    found, refused = [], 0
    for _ in range(blocks):
        block = rails.block(rng, sensor, idle_w, [("x", load)], run_s, idle_s, wander)
        try:
            found += visits(sensor.rail(), block)
        except SensorRefused:
            refused += 1
    truth_j = load.energy_j + idle_w * load.latency_s
    if len(found) < blocks // 2:
        return {"kind": kind, "abstains": True}
    result = energy.energy_interval(found)
    return {
        "kind": kind, "abstains": False, "refused": refused / blocks,
        "covers": result.energy_j.low <= truth_j <= result.energy_j.high,
        "covers_above": result.above_idle_j.low <= load.energy_j <= result.above_idle_j.high,
        "half": result.energy_j.half_width / truth_j,
        "half_above": result.above_idle_j.half_width / load.energy_j,
        "error": result.energy_j.value / truth_j - 1,
        "bound": bound(rng, sensor, load, idle_w, wander, blocks, run_s),
    }  # fmt: skip


def visits(rail: Rail, block: rails.Block) -> list[energy.Visit]:
    """What the production path makes of a synthetic block."""
    found = power.trace(rail, block.t_ns, block.values, block.windows)
    return energy.visits(found, block.windows)


def bound(
    rng: np.random.Generator, sensor: rails.Sensor, load: rails.Load, idle_w: float,
    wander_w: float, blocks: int, run_s: float,
) -> float:  # fmt: skip
    """1.96 × the relative spread that the mean of this rail's readings has at the least.

    The readings that fall into the work windows, everything else known: lag, idle power,
    edges. The phases of sensor and work are random from block to block.
    """
    n = max(1, round(run_s / load.latency_s))
    edges = np.concatenate([[0.0], np.cumsum([s for s, _ in load.parts]) * load.latency_s])
    steps = np.concatenate([[0.0], np.cumsum([s * w for s, w in load.parts]) * load.latency_s])
    width = max(sensor.averaging_s, 20e-6)
    count = max(1, round(run_s / sensor.period_s))
    phase = rng.uniform(0, load.latency_s, (300, 1))
    shift = rng.uniform(-0.25, 0.25, (300, count)) if sensor.on_demand else np.zeros((300, count))
    if not sensor.on_demand:
        shift = rng.standard_normal((300, count)) * sensor.jitter
    ends = phase + (np.arange(count) + shift) * sensor.period_s + load.latency_s

    def upto(t: np.ndarray) -> np.ndarray:
        whole = np.floor(t / load.latency_s)
        return whole * load.energy_j + np.interp(t - whole * load.latency_s, edges, steps)

    means = ((upto(ends) - upto(ends - width)) / width).mean(axis=1)
    mean_w = idle_w + load.energy_j / load.latency_s
    variance = means.var() + sensor.noise_w**2 / count
    variance += (load.process * load.energy_j / load.latency_s) ** 2
    variance += wander_w**2 * min(1.0, 2 * 0.05 / (n * load.latency_s))
    return float(1.96 * np.sqrt(variance / blocks) / mean_w)


def kernel_rail(rng: np.random.Generator) -> dict[str, Any]:
    """A network of twelve kernels of different power: loops, sum, and its own window."""
    sensor = rails.random_sensor(rng, str(rng.choice(["averaging", "fast"])))
    while sensor.period_s > 0.02:
        sensor = rails.random_sensor(rng, "averaging")
    idle_w = float(rng.uniform(0.5, 4.0))
    call_s, gap_s = float(rng.uniform(5e-6, 4e-5)), float(rng.uniform(3e-7, 2e-6))
    names = [f"k{i}" for i in range(12)]
    watts = dict(zip(names, np.exp(rng.uniform(np.log(0.8), np.log(6.0), 12)), strict=True))
    times = dict(zip(names, np.exp(rng.uniform(np.log(3e-5), np.log(5e-3), 12)), strict=True))
    counts = {name: float(rng.integers(1, 6)) for name in names}
    designs = loop_counts(times)
    length = {"call": call_s, "gap": gap_s, **times}
    drawn = {"call": GAP_W, "gap": GAP_W, **watts}

    def load(columns: dict[str, float], *, phases: bool = False) -> rails.Load:
        total = sum(n * length[c] for c, n in columns.items())
        parts = tuple((n * length[c] / total, float(drawn[c])) for c, n in columns.items())
        joined = ((1.0, sum(s * w for s, w in parts)),)
        return rails.Load(total, parts if phases else joined, 0.01)

    _, idle_s = energy.windows_for(sensor.period_s, sensor.rail().settle_s)
    run_s = max(energy.LEAST_RUN_S, energy.LEAST_PERIODS * sensor.period_s)
    measured: dict[str, list[energy.Visit]] = {name: [] for name in designs}
    for _ in range(ROUNDS):
        order = [str(name) for name in rng.permutation(list(designs))]
        block = rails.block(rng, sensor, idle_w, [(n, load(designs[n])) for n in order],
                            run_s, idle_s, 0.02)  # fmt: skip
        try:
            found = visits(sensor.rail(), block)
        except SensorRefused:
            continue  # the round is lost, as in a session
        for visit in found:
            measured[visit.session].append(visit)
    network = {**counts, "call": 1.0, "gap": sum(counts.values())}
    whole_load = load(network, phases=True)
    whole = []
    for _ in range(12):
        block = rails.block(rng, sensor, idle_w, [("net", whole_load)], 0.4, idle_s, 0.02)
        with contextlib.suppress(SensorRefused):
            whole += visits(sensor.rail(), block)
    loops = [
        kernel_energy.Loop(designs[name], [v.above_idle_j for v in found],
                           energy.rounding_w(found, idle=False) * found[0].seconds / found[0].n)
        for name, found in measured.items()
    ]  # fmt: skip
    return judge(loops, counts, network, whole, whole_load, watts, times)


def loop_counts(times: dict[str, float]) -> dict[str, dict[str, float]]:
    """What each loop runs: kernels alone, short ones as copies in a row, and two chains."""
    designs: dict[str, dict[str, float]] = {
        "short": {"call": 1.0, "gap": SHORT}, "long": {"call": 1.0, "gap": LONG},
    }  # fmt: skip
    for name, seconds in times.items():
        copies = 24.0 if seconds < 2e-4 else 1.0
        designs[name] = {name: copies, "call": 1.0, "gap": copies}
    return designs


def judge(
    loops: list[kernel_energy.Loop], counts: dict[str, float], network: dict[str, float],
    whole: list[energy.Visit], load: rails.Load, watts: dict[str, float],
    times: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """The sum against the network's window, and the kernels' powers against the planted."""
    solved = kernel_energy.solve(loops)
    total = energy.energy_interval(whole)
    above = solved.combined(network)
    # The idle share comes from the window's own brackets, over the latency.
    idle = total.idle_w.value * whole[0].seconds / whole[0].n
    plus = type(above)(above.value + idle, above.low + idle, above.high + idle)
    closure = kernel_energy.energy_closure(plus, total.energy_j)
    kernels = kernel_energy.kernels(solved, counts)
    alone = list(kernels.alone)
    estimated = [kernels.alone[name].value / times[name] for name in alone]
    return {
        "closes": closure.closes, "error": closure.error,
        "half": plus.half_width / plus.value,
        "covers": above.low <= load.energy_j <= above.high,
        "alone": len(alone) / len(counts),
        "kernel_covers": float(np.mean([
            kernels.alone[name].low <= watts[name] * times[name] <= kernels.alone[name].high
            for name in alone
        ])) if alone else 1.0,
        "spearman": spearman(estimated, [watts[name] for name in alone]),
    }  # fmt: skip


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation of values without ties."""
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


FAULTS = ("wraps", "reset", "lost", "scaled", "swallowed", "negative", "spike", "stuck",
          "no range", "backwards once")  # fmt: skip


def damaged(rng: np.random.Generator, fault: str) -> dict[str, Any]:
    """One block of a counter or a power sensor with one fault: exact, refused or wrong."""
    n = 600
    t_ns = np.cumsum(rng.uniform(0.8, 1.2, n) * 1e7).astype(np.int64)
    seconds = np.diff(t_ns) * 1e-9
    marks = t_ns[[0, n // 4, 3 * n // 4, n - 1]] * 1e-9
    windows = [Window(marks[0], marks[1]), Window(marks[1], marks[2], 10, "x"),
               Window(marks[2], marks[3])]  # fmt: skip
    idle_w, run_w = rng.uniform(0.3, 4.0), rng.uniform(4.5, 12.0)
    watts = np.where((np.arange(1, n) > n // 4) & (np.arange(1, n) <= 3 * n // 4), run_w, idle_w)
    watts = watts * rng.uniform(0.9, 1.1, n - 1)
    microjoules = np.concatenate([[0.0], np.cumsum(watts * seconds * 1e6)])
    truth = float(microjoules[-1] - microjoules[0]) * 1e-6
    at = int(rng.integers(n // 8, 7 * n // 8))
    counting = fault in ("wraps", "reset", "no range", "backwards once")
    wraps = 0
    if counting:
        # A small range, so that one block wraps many times.
        wrap = int(rng.uniform(0.6e6, 1.2e6)) if fault == "wraps" else 262_143_328_850
        start = int(rng.integers(0, wrap))
        counts = start + np.round(microjoules).astype(np.int64)
        if fault in ("wraps", "reset"):
            wraps = int((counts[-1] // wrap) - (counts[0] // wrap))
        counts = counts % wrap
        if fault == "reset":
            counts[at:] -= counts[at]
        if fault == "no range":
            counts = np.where(np.arange(n) < at, counts, counts % (counts[at] or 1))
        if fault == "backwards once":
            counts[at] = counts[at - 1] - 5_000_000
        rail = Rail("r", power.ENERGY, period_s=0.01, averaging_s=0.01, lag_s=0.0, high=2000.0,
                    resolution=1e-6, wrap=None if fault == "no range" else wrap)  # fmt: skip
        values: list[int | None] = [int(max(0, c)) for c in counts]
        tolerance = 1e-5
    else:
        middles = np.concatenate([watts[:1], watts])
        truth = float(((middles[1:] + middles[:-1]) / 2 * seconds).sum())
        micro = np.round(middles * 1e6).astype(np.int64)
        values = [int(v) for v in micro]
        if fault == "lost":
            for i in rng.choice(n, int(rng.uniform(0, 0.3) * n), replace=False):
                values[int(i)] = None
        if fault == "scaled":  # another unit from some reading on
            factor = float(rng.choice([1000.0, 1e-3]))
            values = values[:at] + [int(v * factor) for v in micro[at:]]
        if fault == "swallowed":  # another unit for some readings
            factor, length = float(rng.choice([1000.0, 1e-3])), int(rng.integers(3, 60))
            for i in range(at, min(n, at + length)):
                values[i] = int(micro[i] * factor)
        if fault == "negative":
            values = values[:at] + [-int(v) for v in micro[at:]]
        if fault == "spike":
            values[at] = int(micro[at] * 1e4)
        if fault == "stuck":
            values = [values[0]] * n
        rail = Rail("r", period_s=0.01, averaging_s=0.01, lag_s=0.0, resolution=1e-6, high=200.0)
        tolerance = 0.05
    return {"fault": fault, "wraps": wraps,
            "outcome": outcome(rail, t_ns.tolist(), values, windows, truth, tolerance)}  # fmt: skip


def outcome(
    rail: Rail, t_ns: list[int], values: list[int | None], windows: list[Window], truth: float,
    tolerance: float,
) -> str:  # fmt: skip
    """``exact``, ``refused`` or ``wrong``."""
    try:
        found = power.trace(rail, t_ns, values, windows)
        energy.visits(found, windows)
    except SensorRefused:
        return "refused"
    ok = abs(float(found.energy_j[-1]) - truth) <= tolerance * truth
    return "exact" if ok else "wrong"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Coverage and widths of rails, in all and by kind."""
    told = [row for row in rows if not row["abstains"]]
    out: dict[str, Any] = {"rails": len(rows), "abstain": 1 - len(told) / len(rows)}
    for key in ("covers", "covers_above"):
        out[key] = float(np.mean([row[key] for row in told]))
    for kind in rails.KINDS:
        mine = [row for row in told if row["kind"] == kind]
        half = np.array([row["half"] for row in mine])
        ratio = half / np.array([row["bound"] for row in mine])
        out[kind] = {
            "covers": float(np.mean([row["covers"] for row in mine])),
            "half_median": float(np.median(half)), "half_p95": float(np.quantile(half, 0.95)),
            "within_3_percent": float(np.mean(half <= 0.03)),
            "ratio_to_bound_median": float(np.median(ratio)),
            "ratio_to_bound_mean": float(np.mean(ratio)),
            "ratio_to_bound_p95": float(np.quantile(ratio, 0.95)),
            "bias": float(np.mean([row["error"] for row in mine])),
        }  # fmt: skip
    return out


def main() -> None:
    """Runs all three and prints them."""
    given = arguments(__doc__ or "", rails=900, kernel_rails=300, wraps=1_000_000, seed=1)
    many, few, wraps = given.rails, given.kernel_rails, given.wraps
    if given.quick:
        many, few, wraps = 60, 20, 5_000
    rng = np.random.default_rng(given.seed)
    figures: dict[str, Any] = {"machine": machine()}
    rows = [one_rail(rng, rails.KINDS[i % len(rails.KINDS)]) for i in range(many)]
    figures["rails"] = summary(rows)
    print("rails", figures["rails"], flush=True)
    save(given.json, figures)
    found = [kernel_rail(rng) for _ in range(few)]
    figures["kernels"] = {
        "rails": few,
        "closes": float(np.mean([row["closes"] for row in found])),
        "sum_covers": float(np.mean([row["covers"] for row in found])),
        "half_median": float(np.median([row["half"] for row in found])),
        "half_max": float(np.max([row["half"] for row in found])),
        "error_p95": float(np.quantile([abs(row["error"]) for row in found], 0.95)),
        "alone": float(np.mean([row["alone"] for row in found])),
        "kernel_covers": float(np.mean([row["kernel_covers"] for row in found])),
        "spearman_median": float(np.median([row["spearman"] for row in found])),
        "spearman_min": float(np.min([row["spearman"] for row in found])),
        "spearman_p5": float(np.quantile([row["spearman"] for row in found], 0.05)),
    }
    print("kernels", figures["kernels"], flush=True)
    save(given.json, figures)
    figures["damage"] = damage(rng, wraps)
    print("damage", figures["damage"], flush=True)
    save(given.json, figures)


def damage(rng: np.random.Generator, wraps: int) -> dict[str, Any]:
    """Damaged blocks until so many wraps were seen; outcomes by fault."""
    counts: dict[str, dict[str, int]] = {}
    seen = 0
    while seen < wraps:
        for fault in FAULTS if seen * 20 < wraps or len(counts) < len(FAULTS) else ("wraps",):
            row = damaged(rng, fault)
            seen += row["wraps"]
            mine = counts.setdefault(fault, {})
            mine[row["outcome"]] = mine.get(row["outcome"], 0) + 1
    wrong = sum(row.get("wrong", 0) for row in counts.values())
    return {"wraps": seen, "wrong": wrong, "by_fault": counts}


if __name__ == "__main__":
    main()
