"""Ridge regression of costs on physical counts, by relative error, with honest leave-one-out.

Counts stay unscaled on purpose: a count of millions of MACs deserves a larger share of the cost
than a count of additions, which standardising would hide. Rows are weighted by 1 / cost, so
that errors are relative. Measured tables have heavy tails (a thermal spell, another process),
so with enough samples rows are reweighted as a Cauchy likelihood asks (iteratively reweighted
least squares); the penalty is chosen by closed-form leave-one-out at every pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lwprof.predictors.space import Floats

PENALTIES = np.logspace(-8, -1, 22)
INTERCEPT = 1000.0
ROBUST_FROM = 40
CAUCHY = 1.5
PASSES = 6
FLOOR = 0.3


@dataclass(frozen=True, slots=True)
class RelativeRidge:
    """A fitted ridge.

    Attributes:
        coefficients, intercept: cost = counts · coefficients + intercept, at least ``floor``.
        floor: 0.3 × the smallest cost seen; no prediction is below it.
        left_out: (n,) log of prediction over cost, each predicted without itself.
    """

    coefficients: Floats
    intercept: float
    floor: float
    left_out: Floats

    def predict(self, counts: Floats) -> Floats:
        """(n,) costs."""
        found: Floats = np.maximum(counts @ self.coefficients + self.intercept, self.floor)
        return found


def fit_relative_ridge(counts: Floats, y: Floats) -> RelativeRidge:
    """Fits ``y`` (positive) on ``counts`` (n, p) by relative error."""
    n = len(y)
    size = float(np.mean((counts**2).sum(axis=1))) or 1.0
    unit = np.sqrt(INTERCEPT * size)
    rows = np.concatenate([counts, np.full((n, 1), unit)], axis=1) / y[:, None]
    scale = float(((counts / y[:, None]) ** 2).sum()) or 1.0
    weight = np.ones(n)
    for left in reversed(range(PASSES if n >= ROBUST_FROM else 1)):
        beta, residual = _ridge(rows, weight, PENALTIES * scale)
        if left:
            spread = max(1.4826 * float(np.median(np.abs(residual))), 0.01)
            weight = np.maximum(1 / (1 + (residual / (CAUCHY * spread)) ** 2), 1e-3)
    predicted = np.maximum((1 - residual) * y, FLOOR * y.min())
    return RelativeRidge(
        beta[:-1], float(beta[-1] * unit), FLOOR * float(y.min()), np.log(predicted / y)
    )


def _ridge(rows: Floats, weight: Floats, penalties: Floats) -> tuple[Floats, Floats]:
    """Coefficients for a target of ones, and leave-one-out residuals, at the best penalty."""
    root = np.sqrt(weight)
    u, s, vt = _thin_svd(rows * root[:, None])
    kept = s**2 / (s**2 + penalties[:, None])  # (penalties, rank)
    projected = u.T @ root
    fitted = (kept * projected) @ u.T  # (penalties, n)
    leverage = kept @ (u**2).T
    residual = (root - fitted) / np.maximum(1 - leverage, 1e-9)
    best = int(np.argmin((residual**2).sum(axis=1)))
    beta = vt.T @ (s / (s**2 + penalties[best]) * projected)
    return beta, residual[best] / root


def _thin_svd(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Singular value decomposition; of tall matrices through their small Gram matrix.

    Directions weaker than 1e-7 of the strongest are lost, which the penalties hide anyway.
    """
    n, p = rows.shape
    if n < 2 * p:
        u, s, vt = np.linalg.svd(rows, full_matrices=False)
        return u, s, vt
    square, v = np.linalg.eigh(rows.T @ rows)
    kept = square > 1e-14 * square[-1]
    s = np.sqrt(square[kept])
    return rows @ v[:, kept] / s, s, v[:, kept].T
