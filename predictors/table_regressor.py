"""Costs of a whole space from measured architectures of one device.

A few ridges on physical counts, each after other rewrites of the graph, are averaged in the
log with weights by their leave-one-out errors: whether the runtime drops dead operators or runs
them is thereby learnt from the samples.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from lwprof.predictors.conformal import conformal_quantile, folds
from lwprof.predictors.labels import column_labels
from lwprof.predictors.ridge import RelativeRidge, fit_relative_ridge
from lwprof.predictors.samples import Estimator, check_samples, merged
from lwprof.predictors.space import Codes, Floats, Space, one_hot

LEAST = 5
SHARPNESS = 4.0  # weights are errors to the power of minus this


class Views:
    """Feature matrices of codes: what each of the averaged ridges sees."""

    def __init__(self, space: Space) -> None:
        self.space = space
        after = space.rewrites[1:]
        self.names: tuple[tuple[str, ...], ...] = tuple(
            (*parts,)
            for parts in (
                [f"count:{space.rewrites[0]}"],
                *([f"count:{a}"] for a in after),
                *([f"hot:{a}", f"count:{a}"] for a in (space.rewrites[0], *after[:1])),
                *([[f"count:{r}" for r in space.rewrites]] if after else []),
                *([[f"count:{a}" for a in after]] if len(after) > 1 else []),
            )
        )

    def matrices(self, codes: Codes) -> list[Floats]:
        """One (n, p) matrix per view; parts are computed once."""
        parts = {part: self._part(codes, part) for part in {p for v in self.names for p in v}}
        return [np.concatenate([parts[p] for p in view], axis=1) for view in self.names]

    def _part(self, codes: Codes, part: str) -> Floats:
        kind, rewrite = part.split(":")
        if kind == "hot":
            return one_hot(self.space.live(codes, rewrite), self.space.choices)
        return self.space.counts(codes, rewrite).values


def stack_weights(errors: list[Floats]) -> Floats:
    """Weights of experts from their (n,) leave-one-out log errors."""
    size = np.array([robust_size(e) for e in errors])
    weights = np.maximum(size, 1e-4) ** -SHARPNESS
    found: Floats = weights / weights.sum()
    return found


def robust_size(error: Floats) -> float:
    """Root mean square with errors beyond three times the median held there."""
    limit = 3 * float(np.median(np.abs(error))) + 1e-6
    return float(np.sqrt(np.mean(np.minimum(np.abs(error), limit) ** 2)))


class Ensemble:
    """Ridges on views, averaged in the log."""

    def __init__(self, views: list[Floats], y: Floats) -> None:
        self.ridges: list[RelativeRidge] = [fit_relative_ridge(v, y) for v in views]
        self.weights = stack_weights([r.left_out for r in self.ridges])

    def predict_log(self, views: list[Floats]) -> Floats:
        """(n,) log costs."""
        total = np.zeros(len(views[0]))
        for weight, ridge, view in zip(self.weights, self.ridges, views, strict=True):
            if weight > 1e-6:
                total += weight * np.log(ridge.predict(view))
        found: Floats = total / self.weights[self.weights > 1e-6].sum()
        return found


class TableRegressor(Estimator):
    """One device's costs over a space, from measured architectures.

    Args:
        space: where the codes come from.
        random_state: decides the folds that calibrate intervals.

    Attributes:
        weights_: by view, how much each counts.
        errors_: (n,) log of prediction over cost on samples left out of the fit.
        labels_: what the costs are, where numbers show it: ``additive``, ``quantised``.
    """

    def __init__(self, space: Space, random_state: int = 0) -> None:
        self.space = space
        self.random_state = random_state

    def fit(self, codes: Any, y: Any) -> Self:
        """Fits costs ``y`` (n,) in SI units.

        Unconnected architectures are left out: what a
        runtime leaves of them may be nothing at all.

        Raises:
            UsageError: fewer than five samples, duplicates, costs that are not positive.
        """
        known, costs = check_samples(self.space, codes, y, LEAST, "TableRegressor.fit")
        self._codes, self._costs = known, costs
        alive = self.space.connected(known)
        self._views = Views(self.space)
        views, costs = self._views.matrices(known[alive]), costs[alive]
        self._ensemble = Ensemble(views, costs)
        self.weights_ = dict(zip(map("+".join, self._views.names), self._ensemble.weights,
                                 strict=True))  # fmt: skip
        self.errors_ = self._calibrate(views, costs)
        self.labels_ = column_labels(costs, self.space, known[alive])
        return self

    def learn(self, codes: Any, y: Any) -> Self:
        """Fits again with further measurements; those of known architectures are left out."""
        self._fitted("errors_")
        return self.fit(*merged(self.space, self._codes, self._costs, codes, y))

    def _calibrate(self, views: list[Floats], y: Floats) -> Floats:
        errors = np.empty(len(y))
        for held in folds(len(y), np.random.default_rng(self.random_state)):
            kept = np.setdiff1d(np.arange(len(y)), held)
            ensemble = Ensemble([v[kept] for v in views], y[kept])
            errors[held] = ensemble.predict_log([v[held] for v in views]) - np.log(y[held])
        return errors

    def predict(self, xs: Any) -> Floats:
        """(n,) costs, in the unit of those that were fitted."""
        self._fitted("errors_")
        codes = self.space.check(xs)
        found: Floats = np.exp(self._ensemble.predict_log(self._views.matrices(codes)))
        return found

    def predict_interval(self, xs: Any, level: float = 0.95) -> tuple[Floats, Floats]:
        """(low, high), each (n,): holds a new measurement with probability ``level``."""
        centre = self.predict(xs)
        factor = np.exp(conformal_quantile(self.errors_, level))
        return centre / factor, centre * factor
