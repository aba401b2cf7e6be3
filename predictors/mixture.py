"""Gaussian processes under many scales at once, averaged by how well each explains the data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from lwprof.predictors.space import Floats


def scales(*options: Sequence[float]) -> Floats:
    """(settings, covariances + 1): every combination of standard deviations; the last is noise."""
    return np.array(list(product(*options)))


class Mixture:
    """Regression under a grid of scales, weighted by marginal likelihood and a prior belief.

    Args:
        kernels: (n, n) covariances between the samples, each at scale one.
        fixed: (n, n) covariance that all settings share.
        y: (n,) values, of prior mean zero.
        grid: standard deviations, see :func:`scales`.
        belief: (settings,) prior weights; None: even.

    Attributes:
        weights: (settings,) posterior weights.
        left_out: (n,) prediction minus value, each sample predicted without itself.
        fixed_alpha: (n,) coefficients of the shared covariance.
    """

    def __init__(
        self, kernels: Sequence[Floats], fixed: Floats, y: Floats, grid: Floats,
        belief: Floats | None = None,
    ) -> None:  # fmt: skip
        stacked = np.stack(kernels)
        n = len(y)
        covariance = np.einsum("gc,cij->gij", grid[:, :-1] ** 2, stacked) + fixed
        covariance[:, np.arange(n), np.arange(n)] += grid[:, -1:] ** 2
        inverse = np.linalg.inv(covariance)
        alpha = inverse @ y  # (settings, n)
        likelihood = -0.5 * (alpha @ y) - 0.5 * np.linalg.slogdet(covariance)[1]
        weights = np.exp(likelihood - likelihood.max())
        self.weights: Floats = weights * (1.0 if belief is None else belief)
        self.weights /= self.weights.sum()
        single = -alpha / np.diagonal(inverse, axis1=1, axis2=2)
        self.left_out: Floats = self.weights @ single
        self.fixed_alpha: Floats = self.weights @ alpha
        self._alpha: Floats = (self.weights[:, None] * grid[:, :-1] ** 2).T @ alpha

    def predict(self, kernels: Sequence[Floats]) -> Floats:
        """What the scaled covariances (m, n) between new points and the samples contribute."""
        total: Floats = kernels[0] @ self._alpha[0]
        for kernel, alpha in zip(kernels[1:], self._alpha[1:], strict=True):
            total = total + kernel @ alpha
        return total
