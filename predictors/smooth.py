"""A Gaussian process over features: smooth where kernels are measured, honest far from them.

Cost is predicted in the log, as a prior line in the logs of work (a power law) plus bumps of
two lengths (Matérn 3/2): a long one for trends, a short one for the staircases that tiles and
vector widths cut. Scales are chosen by marginal likelihood on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from lwprof.predictors.space import Floats

SETTINGS = tuple(product((0.4, 0.8, 1.6), (0.15, 0.5), (0.02, 0.06, 0.15)))
LINE = 1.0
MOST = 1500


@dataclass(frozen=True, slots=True)
class Smooth:
    """A fitted process.

    Attributes:
        mean, spread: (p,) of the features.
        offset: mean log cost.
        points: (n, p) standardised features of the samples.
        alpha: (n,) coefficients.
        inverse: (n, n) of the covariance.
        setting: reach, height of bumps, noise.
    """

    mean: Floats
    spread: Floats
    offset: float
    points: Floats
    alpha: Floats
    inverse: Any
    setting: tuple[float, float, float]

    @property
    def left_out(self) -> Floats:
        """(n,) prediction minus value in the log, each sample predicted without itself."""
        found: Floats = -self.alpha / np.diag(self.inverse)
        return found

    def predict_log(self, features: Floats) -> tuple[Floats, Floats]:
        """(n,) log costs, and (n,) standard deviations; those grow away from the samples."""
        new = (features - self.mean) / self.spread
        across = covariance(new, self.points, self.setting)
        bump = self.setting[1] ** 2 * 2
        own = 4.0 + LINE**2 * (new**2).mean(axis=1) + bump + self.setting[2] ** 2
        left = own - np.einsum("ij,jk,ik->i", across, self.inverse, across, optimize=True)
        return self.offset + across @ self.alpha, np.sqrt(np.maximum(left, 1e-12))

    def to_json(self) -> dict[str, Any]:
        """Everything but the inverse, which is computed again."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist(), "offset": self.offset,
                "points": self.points.tolist(), "alpha": self.alpha.tolist(),
                "setting": list(self.setting)}  # fmt: skip

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Smooth:
        """What :meth:`to_json` gave."""
        points = np.asarray(entry["points"], dtype=np.float64)
        reach, height, noise = (float(s) for s in entry["setting"])
        whole = covariance(points, points, (reach, height, noise))
        inverse = np.linalg.inv(whole + noise**2 * np.eye(len(points)))
        return cls(np.asarray(entry["mean"]), np.asarray(entry["spread"]), float(entry["offset"]),
                   points, np.asarray(entry["alpha"]), inverse, (reach, height, noise))  # fmt: skip


def covariance(a: Floats, b: Floats, setting: tuple[float, float, float]) -> Floats:
    """(n, m) between standardised features, noise left out."""
    reach, height, _ = setting
    width = a.shape[1]
    inner = a @ b.T / width
    square = (a**2).mean(axis=1)[:, None] + (b**2).mean(axis=1) - 2 * inner
    distance = np.sqrt(3 * np.maximum(square, 0))
    total: Floats = 4.0 + LINE**2 * inner
    for length in (reach, reach / 4):
        total = total + height**2 * (1 + distance / length) * np.exp(-distance / length)
    return total


def fit_smooth(features: Floats, log_y: Floats, rng: np.random.Generator) -> Smooth:
    """Fits log costs; scales by marginal likelihood on at most 300 samples."""
    if len(log_y) > MOST:
        kept = rng.permutation(len(log_y))[:MOST]
        features, log_y = features[kept], log_y[kept]
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    points, offset = (features - mean) / spread, float(log_y.mean())
    some = rng.permutation(len(log_y))[:300]
    setting = max(SETTINGS, key=lambda s: _evidence(points[some], log_y[some] - offset, s))
    inverse = np.linalg.inv(
        covariance(points, points, setting) + setting[2] ** 2 * np.eye(len(points))
    )
    return Smooth(mean, spread, offset, points, inverse @ (log_y - offset), inverse, setting)


def _evidence(points: Floats, y: Floats, setting: tuple[float, float, float]) -> float:
    whole = covariance(points, points, setting) + setting[2] ** 2 * np.eye(len(y))
    triangle = np.linalg.cholesky(whole)
    half = np.linalg.solve(triangle, y)
    return float(-0.5 * half @ half - np.log(np.diag(triangle)).sum())
