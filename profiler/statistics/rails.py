"""Synthetic rails whose joules are known: what the energy estimators are proven on.

True power is idle + a repeated profile of the inference × a factor of the process + slow
wander. Its integral is exact, so every reading of a sensor that averages, lags, rounds, drops
and jitters is exact too. Proves estimators, not sensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lwprof.profiler.statistics.power import Floats, Rail, Window

_POINT_S = 20e-6
_WANDER_S = 2e-3


@dataclass(frozen=True, slots=True)
class Sensor:
    """How a synthetic sensor sees power.

    Attributes:
        period_s: between two conversions; ``averaging_s``: of which so long are averaged
            (0: a point in time); ``lag_s``: a value is published so much later.
        step_w: rounding; ``noise_w``: of each reading; ``dropped``: share of readings lost.
        jitter: of the conversions, relative to the period.
        on_demand: a reading starts its own conversion, so that readings are dithered.
        told: whether lag and averaging are known to whoever estimates.
    """

    period_s: float
    averaging_s: float = 0.0
    lag_s: float = 0.0
    step_w: float = 0.0
    noise_w: float = 0.0
    dropped: float = 0.0
    jitter: float = 0.01
    on_demand: bool = False
    told: bool = True

    def rail(self) -> Rail:
        """What the estimators are told of it."""
        return Rail(
            "synthetic", period_s=self.period_s,
            averaging_s=self.averaging_s if self.told else None,
            lag_s=self.lag_s if self.told else None,
            resolution=self.step_w or None, on_demand=self.on_demand,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """What an inference draws above idle: powers (W) over fractions of its length.

    Attributes:
        latency_s: of one inference.
        parts: (fraction of the length, watts above idle), fractions summing to 1.
        process: relative spread of the whole profile between processes.
    """

    latency_s: float
    parts: tuple[tuple[float, float], ...]
    process: float = 0.01

    @property
    def energy_j(self) -> float:
        """Joules above idle of one inference."""
        return self.latency_s * sum(share * watts for share, watts in self.parts)


@dataclass(frozen=True, slots=True)
class Truth:
    """True energy over time: its value at break points, linear in between."""

    t_s: Floats
    energy_j: Floats

    def mean_w(self, start_s: Floats, end_s: Floats) -> Floats:
        """Mean power of stretches, elementwise."""
        first = np.interp(start_s, self.t_s, self.energy_j)
        return (np.interp(end_s, self.t_s, self.energy_j) - first) / (end_s - start_s)


@dataclass(slots=True)
class Block:
    """One synthetic block: windows, and the readings of a sensor."""

    windows: list[Window]
    t_ns: list[int]
    values: list[int | None]
    truth: Truth
    true_j: dict[str, float] = field(default_factory=dict)


def block(
    rng: np.random.Generator,
    sensor: Sensor,
    idle_w: float,
    loads: list[tuple[str, Load]],
    run_s: float,
    idle_s: float,
    wander_w: float = 0.0,
) -> Block:
    """Idle, work, idle, work … idle: one window for each load, read by the sensor."""
    windows: list[Window] = []
    edges, powers = [0.0], list[float]()
    now = float(rng.uniform(0.05, 0.15))  # the sampler starts first
    edges.append(now)
    powers.append(idle_w)
    for name, load in loads:
        now = _idle(windows, edges, powers, now, idle_s, idle_w)
        n = max(1, round(run_s * float(rng.uniform(0.95, 1.05)) / load.latency_s))
        factor = 1.0 + load.process * float(rng.standard_normal())
        watts = np.array([idle_w + factor * w for _, w in load.parts])
        times = n if len(watts) > 1 else 1  # equal power throughout needs no break points
        ends = np.cumsum([share for share, _ in load.parts]) * (n * load.latency_s / times)
        marks = (now + n * load.latency_s / times * np.arange(times)[:, None] + ends).ravel()
        edges += marks.tolist()
        powers += np.tile(watts, times).tolist()
        windows.append(Window(now, now + n * load.latency_s, n, name))
        now = edges[-1] = now + n * load.latency_s
    now = _idle(windows, edges, powers, now, idle_s, idle_w)
    edges.append(now + 4 * sensor.period_s + sensor.lag_s)
    powers.append(idle_w)
    truth = _wandering(rng, np.array(edges), np.array(powers), wander_w)
    t_s, watts_read = readings(rng, sensor, truth)
    values: list[int | None] = [round(w * 1e6) for w in watts_read]
    for index in np.flatnonzero(rng.random(len(values)) < sensor.dropped):
        values[index] = None
    return Block(windows, [round(t * 1e9) for t in t_s], values, truth)


def _idle(
    windows: list[Window], edges: list[float], powers: list[float], now: float, seconds: float,
    idle_w: float,
) -> float:  # fmt: skip
    windows.append(Window(now, now + seconds))
    edges.append(now + seconds)
    powers.append(idle_w)
    return now + seconds


def _wandering(rng: np.random.Generator, edges: Floats, powers: Floats, wander_w: float) -> Truth:
    """The integral of the steps, and of a slow AR(1) wander of spread ``wander_w`` on top."""
    energy = np.concatenate([[0.0], np.cumsum(powers * np.diff(edges))])
    if wander_w <= 0:
        return Truth(edges, energy)
    grid = np.arange(0.0, edges[-1] + _WANDER_S, _WANDER_S)
    level = wander_w * _correlated(rng, grid.size, float(np.exp(-_WANDER_S / 0.05)))
    wander = np.concatenate([[0.0], np.cumsum(level[:-1] * _WANDER_S)])
    every = np.union1d(edges, grid[grid <= edges[-1]])
    return Truth(every, np.interp(every, edges, energy) + np.interp(every, grid, wander))


def _correlated(rng: np.random.Generator, size: int, phi: float) -> Floats:
    """A stationary AR(1) series of unit variance."""
    out = np.empty(size)
    last = float(rng.standard_normal())
    for start in range(0, size, 100):
        # In pieces, over which the powers of phi stay far from underflow.
        count = min(100, size - start)
        powers = phi ** np.arange(1, count + 1)
        shocks = rng.standard_normal(count) * np.sqrt(1 - phi**2)
        out[start : start + count] = powers * (last + np.cumsum(shocks / powers))
        last = float(out[start + count - 1])
    return out


def readings(rng: np.random.Generator, sensor: Sensor, truth: Truth) -> tuple[Floats, Floats]:
    """When the sensor is read, and the watts it says."""
    end = float(truth.t_s[-1])
    period, width = sensor.period_s, max(sensor.averaging_s, _POINT_S)
    count = int(end / period) + 2
    read = np.asarray((np.arange(count) + float(rng.random())) * period, dtype=np.float64)
    done: Floats
    if sensor.on_demand:
        read += rng.uniform(-0.25, 0.25, count) * period  # less than half: still in order
        done = read - sensor.lag_s
    else:
        early = int(sensor.lag_s / period) + 3
        ticks = (np.arange(-early, count + 2) + float(rng.random())) * period
        ticks = ticks + rng.standard_normal(ticks.size) * sensor.jitter * period
        read += rng.exponential(0.002 * period, count)
        done = np.asarray(ticks[np.searchsorted(ticks, read - sensor.lag_s) - 1], dtype=np.float64)
    keep = (read < end) & (done > width)
    read, done = read[keep], done[keep]
    watts = truth.mean_w(done - width, done)
    watts = watts + rng.standard_normal(watts.size) * sensor.noise_w
    if sensor.step_w > 0:
        watts = np.round(watts / sensor.step_w) * sensor.step_w
    return read, np.asarray(np.maximum(watts, 0.0), dtype=np.float64)


KINDS = ("averaging", "fast", "slow")
"""Sensors that average at least 90 % of their period; of at least 200 Hz; all others."""


def random_sensor(rng: np.random.Generator, kind: str) -> Sensor:
    """A sensor of one of the kinds, with every property drawn at random."""
    if kind == "averaging":
        period = float(np.exp(rng.uniform(np.log(0.002), np.log(0.1))))
        averaging = period * float(rng.uniform(0.9, 1.0))
    elif kind == "fast":
        period = float(rng.uniform(0.001, 0.005))
        averaging = period * float(rng.choice([0.0, rng.uniform(0.0, 0.5)]))
    else:
        period = float(np.exp(rng.uniform(np.log(0.01), np.log(0.1))))
        averaging = period * float(rng.choice([0.0, rng.uniform(0.0, 0.5)]))
    return Sensor(
        period_s=period,
        averaging_s=averaging,
        lag_s=period * float(rng.uniform(0.0, 2.0)),
        step_w=float(rng.choice([0.0, 0.001, 0.02, 0.04, 0.1])),
        noise_w=float(rng.choice([0.0, 0.01, 0.05])),
        dropped=float(rng.choice([0.0, 0.0, 0.01, 0.03])),
        jitter=float(rng.uniform(0.002, 0.02)),
        on_demand=kind != "averaging" and bool(rng.random() < 0.5),
        # A slow sensor's lag is worth a calibration.
        told=kind == "slow" or bool(rng.random() < 0.7),
    )


def random_load(rng: np.random.Generator) -> Load:
    """An inference of 3 to 150 ms with up to three phases of different power."""
    count = int(rng.integers(1, 4))
    shares = rng.dirichlet(np.full(count, 2.0))
    watts = rng.uniform(0.0, 8.0, count)
    watts[0] = max(watts[0], 1.5)
    return Load(
        latency_s=float(np.exp(rng.uniform(np.log(0.003), np.log(0.15)))),
        parts=tuple(zip(shares.tolist(), watts.tolist(), strict=True)),
        process=float(rng.uniform(0.002, 0.015)),
    )
