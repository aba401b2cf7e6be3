"""What a few measurements on a new device and many on others can say, one way at a time.

Each expert is fitted on n samples of the target and answers log costs; each reports the error
it makes on every sample when that sample is left out. All work on the same description of
architectures: log costs on the source devices (emulated), and physical counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lwprof.predictors.mixture import Mixture, scales
from lwprof.predictors.space import Floats
from lwprof.predictors.table_regressor import Ensemble


@dataclass(frozen=True, slots=True)
class Described:
    """Architectures as experts see them.

    Attributes:
        sources: (n, devices) log costs on the source devices.
        components: (n, k) principal components of ``sources``, natural scale.
        graph: (n, g) principal components of the log counts, natural scale / √columns.
        profiles: (n, devices) costs on the source devices over each one's geometric mean.
        priced: (n, p) counts that have prices.
        prices: (devices, p) of the counts on each source, in units of its mean cost.
        views: matrices of counts, one per rewrite.
    """

    sources: Floats
    components: Floats
    graph: Floats
    profiles: Floats
    priced: Floats
    prices: Floats
    views: list[Floats]

    def take(self, rows: Any) -> Described:
        """Some of the architectures."""
        return Described(
            self.sources[rows], self.components[rows], self.graph[rows], self.profiles[rows],
            self.priced[rows], self.prices, [v[rows] for v in self.views],
        )  # fmt: skip

    def hiding(self, source: int) -> Described:
        """The same as if one source had never been measured; for many architectures only."""
        logs = np.delete(self.sources, source, axis=1)
        standard = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-9)
        _, _, vt = np.linalg.svd(standard, full_matrices=False)
        components = standard @ vt[: self.components.shape[1]].T
        return Described(
            logs, components, self.graph, np.delete(self.profiles, source, axis=1), self.priced,
            np.delete(self.prices, source, axis=0), self.views,
        )  # fmt: skip


class Expert(Protocol):
    """A fitted expert."""

    left_out: Floats

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        ...


class ClosestSource:
    """The one source whose log costs, stretched and shifted, come nearest."""

    def __init__(self, xs: Described, log_y: Floats) -> None:
        best = np.inf
        for source, column in enumerate(xs.sources.T):
            mean, spread = column.mean(), max(float(column.var()), 1e-9)
            slope = float(np.mean((column - mean) * (log_y - log_y.mean()))) / spread
            fitted = log_y.mean() + slope * (column - mean)
            leverage = 1 / len(log_y) + (column - mean) ** 2 / (len(log_y) * spread)
            error = (fitted - log_y) / np.maximum(1 - leverage, 1e-6)
            if (size := float(np.sum(error**2))) < best:
                best, self._source, self.left_out = size, source, error
                self._line = (float(log_y.mean() - slope * mean), slope)

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        return self._line[0] + self._line[1] * xs.sources[:, self._source]


class SourceComponents:
    """Ridge on the principal components of the sources, in the log (a low-rank model).

    What is shrunk is the difference from the sources' mean log cost: samples that say nothing
    leave a device that ranks networks as others do, not one that ranks them at random.
    """

    PENALTIES = np.logspace(-5, 0, 16)

    def __init__(self, xs: Described, log_y: Floats) -> None:
        log_y = log_y - xs.sources.mean(axis=1)
        self._mean = xs.components.mean(axis=0)
        centred = xs.components - self._mean
        n = len(log_y)
        u, s, vt = np.linalg.svd(centred, full_matrices=False)
        penalty = self.PENALTIES[:, None] * float((s**2).sum())
        kept = s**2 / (s**2 + penalty)
        projected = u.T @ (log_y - log_y.mean())
        fitted = log_y.mean() + (kept * projected) @ u.T
        leverage = 1 / n + kept @ (u**2).T
        error = (fitted - log_y) / np.maximum(1 - leverage, 1e-6)
        best = int(np.argmin((error**2).sum(axis=1)))
        self.left_out = error[best]
        self._beta = vt.T @ (s / (s**2 + penalty[best]) * projected)
        self._offset = float(log_y.mean())

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        own = self._offset + (xs.components - self._mean) @ self._beta
        found: Floats = xs.sources.mean(axis=1) + own
        return found


class Physics:
    """Ridges on counts of what runs: needs no source at all.

    Choosing among views and penalties flatters an error that is taken afterwards, so up to
    ``HONEST`` samples every choice is made again without each sample.
    """

    HONEST = 40

    def __init__(self, xs: Described, log_y: Floats) -> None:
        n, y = len(log_y), np.exp(log_y)
        self._ensemble = Ensemble(xs.views, y)
        errors = np.stack([r.left_out for r in self._ensemble.ridges])
        self.left_out: Floats = self._ensemble.weights @ errors
        if n <= self.HONEST:
            self.left_out = np.array([
                Ensemble([np.delete(v, i, axis=0) for v in xs.views], np.delete(y, i))
                .predict_log([v[i : i + 1] for v in xs.views])[0] - log_y[i] for i in range(n)
            ])  # fmt: skip

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        return self._ensemble.predict_log(xs.views)


class Process:
    """Gaussian process in the log: linear in the sources and the graph, bumps where both fail.

    Covariances: sources' components, graph components, both linear; a Gaussian of the graph.
    """

    GRID = scales((0.1, 0.3), (0.03, 0.1, 0.3), (0.05, 0.15, 0.3), (0.02, 0.05, 0.1, 0.2))
    REACH = 2.0

    def __init__(self, xs: Described, log_y: Floats, belief: Floats | None = None) -> None:
        # The prior mean is the sources' mean log cost: their typical device, not a flat one.
        usual = xs.sources.mean(axis=1)
        self._xs, self._offset = xs, float((log_y - usual).mean())
        fixed = np.full((len(log_y),) * 2, 4.0)
        self.mixture = Mixture(
            self._kernels(xs), fixed, log_y - usual - self._offset, self.GRID, belief
        )  # fmt: skip
        self.left_out = self.mixture.left_out

    def _kernels(self, xs: Described) -> list[Floats]:
        mine = self._xs
        near = (
            (xs.graph**2).sum(axis=1)[:, None] + (mine.graph**2).sum(axis=1)
            - 2 * xs.graph @ mine.graph.T
        )  # fmt: skip
        return [
            xs.components @ mine.components.T / mine.components.shape[1],
            xs.graph @ mine.graph.T,
            np.exp(-np.maximum(near, 0) / (2 * self.REACH**2)),
        ]

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        fixed = 4.0 * self.mixture.fixed_alpha.sum()
        own = self._offset + fixed + self.mixture.predict(self._kernels(xs))
        found: Floats = xs.sources.mean(axis=1) + own
        return found


class Hierarchy:
    """Costs as a sum of counts times prices, whose prior is how prices differ among sources.

    A network's cost is taken relative to the samples' mean. Covariances: how the sources differ
    from their mean; and prices that vary each by itself as much as they do over the sources.
    """

    GRID = scales((0.3, 1.0), (0.03, 0.1, 0.3, 1.0), (0.02, 0.05, 0.1, 0.2))
    LEVEL = 0.3  # prior standard deviation of the mean source's share (mean 1) and a constant

    def __init__(self, xs: Described, log_y: Floats, belief: Floats | None = None) -> None:
        self._xs = xs
        self._unit = float((log_y - np.log(xs.profiles.mean(axis=1))).mean())
        self._y = np.exp(log_y - self._unit)
        both = np.outer(self._y, self._y)
        kernels = [k / both for k in self._kernels(xs)]
        wanted = 1 - xs.profiles.mean(axis=1) / self._y
        self.mixture = Mixture(kernels, self._fixed(xs) / both, wanted, self.GRID, belief)
        self._floor = float(np.log(0.3 * self._y.min()))
        # Errors of cost relative to the cost; as logs, with the floor that predictions have.
        self.left_out = np.log(np.maximum(1 + self.mixture.left_out, 0.3))

    def _fixed(self, xs: Described) -> Floats:
        mine = self._xs
        return self.LEVEL**2 * (1 + np.outer(xs.profiles.mean(axis=1), mine.profiles.mean(axis=1)))

    def _kernels(self, xs: Described) -> list[Floats]:
        mine = self._xs
        spread = (mine.prices - mine.prices.mean(axis=0)).std(axis=0)
        away = xs.profiles - xs.profiles.mean(axis=1, keepdims=True)
        mine_away = mine.profiles - mine.profiles.mean(axis=1, keepdims=True)
        return [
            away @ mine_away.T / away.shape[1],
            (xs.priced * spread) @ (mine.priced * spread).T,
        ]

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        fixed = self._fixed(xs) @ (self.mixture.fixed_alpha / self._y)
        kernels = [k / self._y for k in self._kernels(xs)]
        value = xs.profiles.mean(axis=1) + fixed + self.mixture.predict(kernels)
        log = np.maximum(np.log(np.maximum(value, 1e-12)), self._floor)
        found: Floats = self._unit + log
        return found
