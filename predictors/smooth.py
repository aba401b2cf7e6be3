"""A Gaussian process over features: smooth where kernels are measured, honest far from them.

It predicts how far a cost lies, in the log, from what physics says: by a line in the features,
by what each operator adds, and by bumps of two lengths (Matérn 3/2): a long one for trends, a
short one for the staircases that tiles and vector widths cut. Far from every sample it returns to
physics. Scales are chosen by marginal likelihood on a grid.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from functools import cached_property
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


@dataclass(frozen=True)
class Smooth:
    """A fitted process.

    Attributes:
        mean, spread: (p,) of the features.
        points: (n, p) standardised features of the samples.
        marks: (n, q) which operators each sample holds.
        alpha: (n,) coefficients.
        setting: reach and height of bumps, noise, slope.
    """

    mean: Floats
    spread: Floats
    points: Floats
    marks: Floats
    alpha: Floats
    setting: Setting

    @cached_property
    def inverse(self) -> Floats:
        """(n, n) of the covariance; computed when a family is first asked, not when loaded."""
        whole = covariance(self.points, self.marks, self.points, self.marks, self.setting)
        return np.asarray(np.linalg.inv(whole + self.setting[2] ** 2 * np.eye(len(self.points))))

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
        arrays = {name: _packed(getattr(self, name)) for name in _ARRAYS}
        return {**arrays, "samples": len(self.points), "setting": list(self.setting)}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Smooth:
        """What :meth:`to_json` gave; it is untrusted.

        Raises:
            ValueError: it does not fit together.
        """
        count = int(entry["samples"])
        flat = {name: np.frombuffer(base64.b64decode(entry[name], validate=True), "<f8")
                for name in _ARRAYS}  # fmt: skip
        mean, points = flat["mean"], flat["points"].reshape(count, -1)
        reach, height, noise, slope = (float(s) for s in entry["setting"])
        sound = (
            len(mean) == len(flat["spread"]) == points.shape[1]
            and len(flat["alpha"]) == count
            and all(bool(np.isfinite(values).all()) for values in flat.values())
        )
        if not sound:
            raise ValueError("its samples do not fit together")
        return cls(mean, flat["spread"], points, flat["marks"].reshape(count, -1), flat["alpha"],
                   (reach, height, noise, slope))  # fmt: skip


_ARRAYS = ("mean", "spread", "points", "marks", "alpha")


def _packed(values: Floats) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


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
    blank = Smooth(mean, spread, points, marked, np.zeros(len(y)), setting)
    fitted = replace(blank, alpha=blank.inverse @ y)
    inverse = vars(fitted)["inverse"] = blank.inverse  # of the same samples: not computed twice
    predicted, deviation = fitted.predict_log(features, marks)
    left_out = predicted - log_y
    left_out[kept], deviation[kept] = fitted.left_out, 1 / np.sqrt(np.diag(inverse))
    return fitted, left_out, deviation


def _evidence(points: Floats, marks: Floats, y: Floats, setting: Setting) -> float:
    whole = covariance(points, marks, points, marks, setting) + setting[2] ** 2 * np.eye(len(y))
    triangle = np.linalg.cholesky(whole)
    half = np.linalg.solve(triangle, y)
    return float(-0.5 * half @ half - np.log(np.diag(triangle)).sum())
