"""A Gaussian process over features: smooth where kernels are measured, honest far from them.

It predicts how far a cost lies, in the log, from what physics says: by a line in the features,
by what each operator adds, and by bumps of two lengths (Matérn 3/2): a long one for trends, a
short one for the staircases that tiles and vector widths cut. Far from every sample it returns to
physics. Scales are chosen by marginal likelihood on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from lwprof.predictors.space import Floats

SETTINGS = tuple(product((0.4, 0.8, 1.6), (0.1, 0.3, 0.6), (0.02, 0.06, 0.15), (0.2, 0.6)))
CONSTANT = 0.5
OPERATOR = 0.5
APART = 0.1
MOST = 1500

Setting = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Smooth:
    """A fitted process.

    Attributes:
        mean, spread: (p,) of the features.
        points: (n, p) standardised features of the samples.
        marks: (n, q) which operators each sample holds.
        alpha: (n,) coefficients.
        inverse: (n, n) of the covariance.
        setting: reach and height of bumps, noise, slope.
    """

    mean: Floats
    spread: Floats
    points: Floats
    marks: Floats
    alpha: Floats
    inverse: Any
    setting: Setting

    @property
    def left_out(self) -> Floats:
        """(n,) prediction minus value in the log, each sample predicted without itself."""
        found: Floats = -self.alpha / np.diag(self.inverse)
        return found

    def predict_log(self, features: Floats, marks: Floats) -> tuple[Floats, Floats]:
        """(n,) logs, and (n,) standard deviations; those grow away from the samples."""
        new = (features - self.mean) / self.spread
        across = covariance(new, marks, self.points, self.marks, self.setting)
        _, height, noise, slope = self.setting
        own = (
            CONSTANT**2 + slope**2 * (new**2).mean(axis=1) + OPERATOR**2 * (marks**2).sum(axis=1)
            + 2 * height**2 + noise**2
        )  # fmt: skip
        left = own - np.einsum("ij,jk,ik->i", across, self.inverse, across, optimize=True)
        return across @ self.alpha, np.sqrt(np.maximum(left, 1e-12))

    def to_json(self) -> dict[str, Any]:
        """Everything but the inverse, which is computed again."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist(),
                "points": self.points.tolist(), "marks": self.marks.tolist(),
                "alpha": self.alpha.tolist(), "setting": list(self.setting)}  # fmt: skip

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Smooth:
        """What :meth:`to_json` gave."""
        points = np.asarray(entry["points"], dtype=np.float64)
        marks = np.asarray(entry["marks"], dtype=np.float64).reshape(len(points), -1)
        reach, height, noise, slope = (float(s) for s in entry["setting"])
        setting = (reach, height, noise, slope)
        return cls(np.asarray(entry["mean"]), np.asarray(entry["spread"]), points, marks,
                   np.asarray(entry["alpha"]), _inverse(points, marks, setting), setting)  # fmt: skip


def covariance(a: Floats, marks_a: Floats, b: Floats, marks_b: Floats, setting: Setting) -> Floats:
    """(n, m) between standardised features, noise left out."""
    reach, height, _, slope = setting
    inner = a @ b.T / a.shape[1]
    square = (a**2).mean(axis=1)[:, None] + (b**2).mean(axis=1) - 2 * inner
    shared = marks_a @ marks_b.T
    differ = (marks_a**2).sum(axis=1)[:, None] + (marks_b**2).sum(axis=1) - 2 * shared
    distance = np.sqrt(3 * np.maximum(square + APART * differ, 0))
    total: Floats = CONSTANT**2 + slope**2 * inner + OPERATOR**2 * shared
    for length in (reach, reach / 4):
        total = total + height**2 * (1 + distance / length) * np.exp(-distance / length)
    return total


def fit_smooth(
    features: Floats, marks: Floats, log_y: Floats, least_spread: Floats, rng: np.random.Generator
) -> tuple[Smooth, Floats, Floats]:
    """Fits logs; scales by marginal likelihood on at most 300 samples.

    Args:
        features, marks: (n, p) and (n, q).
        least_spread: (p,) spreads that count as one at least, so that a family whose samples
            are all alike in a feature does not take a small step for a leap.

    Returns:
        The process, and (n,) prediction minus value in the log, each sample predicted without
        itself, and (n,) the standard deviation there. Of more than 1,500 samples a random 1,500
        are kept.
    """
    kept = np.sort(rng.permutation(len(log_y))[:MOST])
    mean = features[kept].mean(axis=0)
    spread = np.maximum(features[kept].std(axis=0), least_spread)
    spread = np.where(spread > 1e-9, spread, 1.0)
    points, marked, y = (features[kept] - mean) / spread, marks[kept], log_y[kept]
    some = rng.permutation(len(kept))[:300]
    setting = max(SETTINGS, key=lambda s: _evidence(points[some], marked[some], y[some], s))
    inverse = _inverse(points, marked, setting)
    fitted = Smooth(mean, spread, points, marked, inverse @ y, inverse, setting)
    predicted, deviation = fitted.predict_log(features, marks)
    left_out = predicted - log_y
    left_out[kept], deviation[kept] = fitted.left_out, 1 / np.sqrt(np.diag(inverse))
    return fitted, left_out, deviation


def _inverse(points: Floats, marks: Floats, setting: Setting) -> Any:
    whole = covariance(points, marks, points, marks, setting)
    return np.linalg.inv(whole + setting[2] ** 2 * np.eye(len(points)))


def _evidence(points: Floats, marks: Floats, y: Floats, setting: Setting) -> float:
    whole = covariance(points, marks, points, marks, setting) + setting[2] ** 2 * np.eye(len(y))
    triangle = np.linalg.cholesky(whole)
    half = np.linalg.solve(triangle, y)
    return float(-0.5 * half @ half - np.log(np.diag(triangle)).sum())
