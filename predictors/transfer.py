"""Costs on a new device from 5 to 20 measurements there and tables of other devices.

Every source device is first emulated (a smooth fit of its table over the whole space). A stack
of experts then explains the target's few samples. How far an expert is trusted depends on its
leave-one-out error on the target, and on how well it did when each source played the target:
ten samples alone fool a leave-one-out error too often. The scales of the Gaussian process are
also chosen on sources that play the target; the real target is never looked at for settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.clusters import central_members
from lwprof.predictors.conformal import conformal_quantile, folds
from lwprof.predictors.experts import (
    ClosestSource,
    Described,
    Expert,
    Hierarchy,
    Physics,
    Process,
    SourceComponents,
)  # fmt: skip
from lwprof.predictors.labels import column_labels
from lwprof.predictors.ridge import fit_relative_ridge
from lwprof.predictors.samples import Estimator, check_samples, merged
from lwprof.predictors.space import Codes, Floats, Space
from lwprof.predictors.table_regressor import Ensemble, Views, robust_size

LEAST = 3
SOURCE_LEAST = 20
POOL = 3000
COMPONENTS, GRAPH_COMPONENTS = 6, 12
MOCK_SEEDS, MOCK_TEST = 3, 300
MOCK_TRUST = 30.0  # a source's verdict on an expert counts as this many samples of the target
SHARPNESS = 4.0
Tables = Mapping[str, tuple[Codes, Floats]]
EXPERTS = ("closest", "components", "physics", "process", "hierarchy")


class Atlas:
    """Emulated source devices over a space: turns codes into what experts see."""

    def __init__(self, space: Space, sources: Tables, pool: Codes):
        self.names = tuple(sources)
        self._views = Views(space)
        self._emulators = [self._emulate(space, codes, y) for codes, y in sources.values()]
        views = self._views.matrices(pool)
        logs, counts = self._logs(views), self._counts(views)
        self._log_mean, self._log_spread = logs.mean(axis=0), _spread(logs)
        self._log_axes = _axes((logs - self._log_mean) / self._log_spread, COMPONENTS)
        self._count_mean, self._count_spread = counts.mean(axis=0), _spread(counts)
        self._count_axes = _axes(self._standard(counts), GRAPH_COMPONENTS)
        profiles = np.exp(logs - self._log_mean)
        self._prices = np.stack([
            fit_relative_ridge(self._priced(views), p).coefficients for p in profiles.T
        ])  # fmt: skip

    def _standard(self, counts: Floats) -> Floats:
        found: Floats = (counts - self._count_mean) / self._count_spread / np.sqrt(counts.shape[1])
        return found

    def _priced(self, views: list[Floats]) -> Floats:
        """The view with the most counts and no choices by block."""
        names = self._views.names
        plain = [i for i, name in enumerate(names) if not any("hot" in part for part in name)]
        return views[max(plain, key=lambda i: views[i].shape[1])]

    def _emulate(self, space: Space, codes: Codes, y: Floats) -> Ensemble:
        alive = space.connected(codes)
        return Ensemble(self._views.matrices(codes[alive]), y[alive])

    def _logs(self, views: list[Floats]) -> Floats:
        return np.stack([e.predict_log(views) for e in self._emulators], axis=1)

    def _counts(self, views: list[Floats]) -> Floats:
        wanted = [v for v, name in zip(views, self._views.names, strict=True)
                  if len(name) == 1]  # fmt: skip
        return np.log1p(np.concatenate(wanted, axis=1))

    def describe(self, codes: Codes) -> Described:
        """What experts see of ``codes``."""
        views = self._views.matrices(codes)
        logs = self._logs(views)
        return Described(
            logs, (logs - self._log_mean) / self._log_spread @ self._log_axes,
            self._standard(self._counts(views)) @ self._count_axes,
            np.exp(logs - self._log_mean), self._priced(views), self._prices, views,
        )  # fmt: skip


def _spread(values: Floats) -> Floats:
    found: Floats = np.maximum(values.std(axis=0), 1e-9)
    return found


def _axes(values: Floats, most: int) -> Floats:
    """The first principal axes of centred values, as columns."""
    return np.linalg.svd(values, full_matrices=False)[2][:most].T


@dataclass(frozen=True, slots=True)
class Judgement:
    """What sources that played the target teach about experts.

    Attributes:
        verdict: (experts,) typical error over the best expert's.
        process, hierarchy: belief in each setting of their scales; None: even.
    """

    verdict: Floats
    process: Floats | None = None
    hierarchy: Floats | None = None


class Stack:
    """Experts fitted on the same samples and how far each is trusted."""

    def __init__(self, xs: Described, log_y: Floats, judgement: Judgement) -> None:
        self.experts: list[Expert] = [
            ClosestSource(xs, log_y), SourceComponents(xs, log_y), 
            Physics(xs, log_y), Process(xs, log_y, judgement.process),
            Hierarchy(xs, log_y, judgement.hierarchy),
        ]  # fmt: skip
        n = len(log_y)
        own = np.array([np.sqrt(np.mean(e.left_out**2)) for e in self.experts])
        # Verdicts are ratios to the best expert; the target's own level joins them.
        level = float(np.min(own))
        square = (n * own**2 + MOCK_TRUST * (judgement.verdict * level) ** 2) / (n + MOCK_TRUST)
        weights = np.maximum(square, 1e-8) ** (-SHARPNESS / 2)
        self.weights: Floats = weights / weights.sum()

    def predict_log(self, xs: Described) -> Floats:
        """(n,) log costs."""
        each = np.stack([e.predict_log(xs) for e in self.experts])
        found: Floats = self.weights @ each
        return found


class TransferRegressor(Estimator):
    """Costs on a barely measured device, from its few samples and other devices' tables.

    Args:
        space: where the codes come from.
        sources: by device, its (codes, y); at least twenty architectures each.
        random_state: decides which architectures stand for the space, and the folds.

    Attributes:
        weights_: by expert, how much each counts.
        errors_: (n,) log of prediction over cost on samples left out of the fit.
        judgement_: what was learnt from sources that played the target.
        labels_: what the costs are, where numbers show it: ``additive``, ``quantised``.
    """

    def __init__(
        self, space: Space, sources: Mapping[str, tuple[Any, Any]], random_state: int = 0
    ) -> None:
        self.space = space
        self.sources = sources
        self.random_state = random_state

    def prepare(self) -> Self:
        """Emulates the sources; done once, and by ``fit`` if it was not.

        Raises:
            UsageError: no sources, or a source whose table cannot be used; it is named.
        """
        if not self.sources:
            raise UsageError("TransferRegressor needs the table of at least one other device; "
                             "without any, use TableRegressor")  # fmt: skip
        tables = {
            name: check_samples(self.space, *table, SOURCE_LEAST, f"source {name!r}")
            for name, table in self.sources.items()
        }
        rng = np.random.default_rng(self.random_state)
        known = np.unique(np.concatenate([codes for codes, _ in tables.values()]), axis=0)
        known = known[self.space.connected(known)]
        pool = known[np.sort(rng.permutation(len(known))[:POOL])]
        self.atlas_ = Atlas(self.space, tables, pool)
        self._pool = pool
        alive = {k: self.space.connected(c) for k, (c, _) in tables.items()}
        self._tables = {k: (c[alive[k]], y[alive[k]]) for k, (c, y) in tables.items()}
        self._judged: dict[int, Judgement] = {}
        return self

    def choose(self, n: int, codes: Any = None) -> Any:
        """Indices of n architectures that are worth measuring on the new device first.

        Args:
            n: how many.
            codes: to choose from; by default the sources' (then codes are returned instead).
        """
        if not hasattr(self, "atlas_"):
            self.prepare()
        given = self._pool if codes is None else self.space.check(codes)
        seen = self.atlas_.describe(given)
        rng = np.random.default_rng(self.random_state)
        rows = central_members(np.concatenate([seen.components, 3 * seen.graph], 1), n, rng)
        return given[rows] if codes is None else rows

    def fit(self, codes: Any, y: Any) -> Self:
        """Fits the target's costs ``y`` (n,), in SI units.

        Raises:
            UsageError: fewer than three samples, duplicates, costs that are not positive, or
                sources that cannot be used.
        """
        known, costs = check_samples(self.space, codes, y, LEAST, "TransferRegressor.fit")
        if not hasattr(self, "atlas_"):
            self.prepare()
        self._codes, self._costs = known, costs
        alive = self.space.connected(known)
        known, log_y = known[alive], np.log(costs[alive])
        self.judgement_ = self._judge(len(log_y))
        xs = self.atlas_.describe(known)
        self._stack = Stack(xs, log_y, self.judgement_)
        self.weights_ = dict(zip(EXPERTS, self._stack.weights.tolist(), strict=True))
        self.labels_ = column_labels(costs[alive], self.space, known)
        self.errors_ = np.empty(len(log_y))
        for held in folds(len(log_y), np.random.default_rng(self.random_state)):
            kept = np.setdiff1d(np.arange(len(log_y)), held)
            stack = Stack(xs.take(kept), log_y[kept], self.judgement_)
            self.errors_[held] = stack.predict_log(xs.take(held)) - log_y[held]
        return self

    def learn(self, codes: Any, y: Any) -> Self:
        """Fits again with further measurements; those of known architectures are left out."""
        self._fitted("errors_")
        return self.fit(*merged(self.space, self._codes, self._costs, codes, y))

    def _judge(self, n: int) -> Judgement:
        """What mock targets with n samples teach."""
        n = min(n, 30)
        if n not in self._judged:
            least = min(len(y) for _, y in self._tables.values())
            enough = len(self._tables) >= 3 and least >= MOCK_SEEDS * n + 10
            found = trials(self.atlas_, self._tables, n, self.random_state) if enough else []
            self._judged[n] = judge(found) if found else Judgement(np.ones(len(EXPERTS)))
        return self._judged[n]

    def predict(self, xs: Any) -> Floats:
        """(n,) costs, in the unit of those that were fitted."""
        self._fitted("errors_")
        described = self.atlas_.describe(self.space.check(xs))
        found: Floats = np.exp(self._stack.predict_log(described))
        return found

    def predict_interval(self, xs: Any, level: float = 0.95) -> tuple[Floats, Floats]:
        """(low, high), each (n,): holds a new measurement with probability ``level``."""
        centre = self.predict(xs)
        factor = np.exp(conformal_quantile(self.errors_, level))
        return centre / factor, centre * factor


@dataclass(frozen=True, slots=True)
class Trial:
    """A source that plays the target: its own measurements, split, and the other sources."""

    few: Described
    few_log: Floats
    rest: Described
    rest_log: Floats


def trials(atlas: Atlas, tables: Tables, n: int, seed: int) -> list[Trial]:
    """Every source as the target, twice; its real measurements, noise and all."""
    rng = np.random.default_rng(seed)
    found = []
    for device, (codes, y) in enumerate(tables.values()):
        rows = rng.permutation(len(y))[: MOCK_SEEDS * n + MOCK_TEST]
        rest = rows[MOCK_SEEDS * n :]
        seen = atlas.describe(codes).hiding(device)
        for few in np.split(rows[: MOCK_SEEDS * n], MOCK_SEEDS):
            found.append(Trial(seen.take(few), np.log(y[few]), seen.take(rest), np.log(y[rest])))
    return found


def judge(found: list[Trial]) -> Judgement:
    """Beliefs in scales (how often each explained a mock target) and the experts' verdicts."""
    process = np.mean([Process(t.few, t.few_log).mixture.weights for t in found], axis=0)
    hierarchy = np.mean([Hierarchy(t.few, t.few_log).mixture.weights for t in found], axis=0)
    even = Judgement(np.ones(len(EXPERTS)), process, hierarchy)
    sizes = np.array([
        [np.log(robust_size(e.predict_log(t.rest) - t.rest_log))
         for e in Stack(t.few, t.few_log, even).experts] for t in found
    ])  # fmt: skip
    typical = np.exp(sizes.mean(axis=0))
    return Judgement(typical / typical.min(), process, hierarchy)
