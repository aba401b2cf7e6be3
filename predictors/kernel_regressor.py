"""Costs of kernels never measured, from kernels measured on the same device.

Physics first (an additive roofline by family of kernels, and by operator where no MACs are
counted), then a smooth model by family of how far costs lie from it, or trees where those were
nearer on kernels left out; a pooled one answers for families with too few samples. Every answer has
an interval calibrated on left-out kernels of its family, widened as far as the smooth model says
that a workload lies away from what it was fitted on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lwprof.errors import CostMiss, StoreError, UsageError
from lwprof.predictors.conformal import conformal_quantile
from lwprof.predictors.kernel_features import NAMES, PLAIN, KernelFacts, facts
from lwprof.predictors.kernel_samples import (
    LEAST,
    POOLED,
    KernelArrays,
    all_rates,
    arrays,
    operators_of,
)
from lwprof.predictors.samples import Estimator, check_costs
from lwprof.predictors.smooth import Smooth, fit_smooth
from lwprof.predictors.space import Floats
from lwprof.predictors.trees import TREES, Trees, grow, left_out

LEAST_OF_TYPE = 15
LEAST_FOR_TREES = 60
SCOUTS, SCOUTED, SCOUT_MARGIN = 16, 600, 1.3
TREES_GAIN = 0.95
"""Trees answer where their error left out is below this share of the smooth model's."""
FOREIGN = 3.0
"""A workload whose standard deviation is this many times the usual is out of distribution."""
SCHEMA = "lwprof.kernel_regressor/3"


class KernelRegressor(Estimator):
    """Seconds or joules of workloads.

    Args:
        random_state: decides which samples choose the scales.
        unknown: ``extrapolate`` answers for foreign workloads with wide intervals, ``refuse``
            raises :class:`lwprof.CostMiss` naming them.
        trees: how many to try against the smooth model of each family; 0 tries none.

    Attributes:
        types_: families with a model of their own.
        operators_: operator types of the samples.
        rates_: by family and by operator, costs of a call, a MAC, a byte and an operation without
            MACs; with latencies, of a second too.
        errors_: by family, (n,) log of prediction over cost on kernels left out, each over the
            model's own standard deviation there.
        left_out_: (n,) log of prediction over cost of each sample, by a fit without it; only
            where this object was fitted, not loaded.
        usual_: by family, the median standard deviation at the samples.
        fingerprint_: digest of the data it was fitted on.
    """

    def __init__(
        self, random_state: int = 0, unknown: str = "extrapolate", trees: int = TREES
    ) -> None:
        self.random_state = random_state
        self.unknown = unknown
        self.trees = trees

    def fit(self, workloads: Sequence[Any], y: Any, latency_s: Any = None) -> Self:
        """Fits costs ``y`` (n,) in SI units.

        Args:
            workloads: :class:`lwprof.profiler.kernels.Workload`, or descriptions.
            y: positive costs.
            latency_s: (n,) measured latency of each, a further feature (for energy); then
                ``predict`` needs it too.

        Raises:
            UsageError: fewer than eight, a workload twice, or costs that are not positive.
        """
        costs = check_costs(y, len(workloads), LEAST, "KernelRegressor.fit")
        if self.unknown not in ("extrapolate", "refuse"):
            raise UsageError(f"unknown must be extrapolate or refuse, not {self.unknown!r}")
        keys = [_key(w) for w in workloads]
        if twice := {k for k in keys if keys.count(k) > 1} if len(set(keys)) < len(keys) else set():
            raise UsageError(f"KernelRegressor.fit: {len(twice)} workloads are given twice, such "
                             f"as {min(twice)[:14]}…: pass each once, with its mean")  # fmt: skip
        known = [facts(w) for w in workloads]
        self._timed = latency_s is not None
        self.operators_ = tuple(sorted({op for f in known for op in operators_of(f)}))
        self._least = float(costs.min())
        self._fit_families(self._seen(known, latency_s), np.log(costs))
        digest = hashlib.sha256(json.dumps(sorted(zip(keys, costs.tolist(), strict=True))).encode())
        self.fingerprint_ = digest.hexdigest()
        return self

    def _fit_families(self, seen: KernelArrays, log_y: Floats) -> None:
        rng = np.random.default_rng(self.random_state)
        least_spread = seen.features.std(axis=0)
        names, counts = np.unique(seen.families, return_counts=True)
        self.types_ = tuple(
            str(n) for n, c in zip(names, counts, strict=True) if c >= LEAST_OF_TYPE
        )
        self.rates_ = all_rates(seen, self.types_, np.exp(log_y))
        self._models: dict[str, Smooth] = {}
        self._trees: dict[str, Trees] = {}
        self.errors_, self.usual_ = {}, {}
        self.left_out_ = np.empty(len(log_y))
        for family in (POOLED, *self.types_):
            rows = np.full(len(log_y), True) if family == POOLED else seen.families == family
            off = log_y[rows] - seen.physics(self.rates_, rows, family, self._least)
            self._models[family], self.left_out_[rows], spread = fit_smooth(
                seen.features[rows], seen.marks[rows], off, least_spread, rng
            )
            if family != POOLED and self.trees and rows.sum() >= LEAST_FOR_TREES:
                self._try_trees(family, rows, seen, log_y)
            self.errors_[family] = self.left_out_[rows] / spread
            self.usual_[family] = float(np.median(spread))

    def _try_trees(self, family: str, rows: Any, seen: KernelArrays, log_y: Floats) -> None:
        """Takes trees for a family where they are nearer on kernels that they did not see."""
        wanted = log_y[rows] - seen.base[rows]
        if not self._promising(seen.plain[rows], wanted, self.left_out_[rows]):
            return
        off = left_out(seen.plain[rows], wanted, self.random_state, trees=self.trees)
        if _relative(off) < TREES_GAIN * _relative(self.left_out_[rows]):
            self._trees[family] = grow(seen.plain[rows], wanted, self.random_state, self.trees)
            self.left_out_[rows] = off

    def _promising(self, plain: Floats, wanted: Floats, smooth_off: Floats) -> bool:
        """Whether a few trees on half of some samples come near: most families are smooth, and
        many trees take longer than all the rest of a fit."""
        some = np.random.default_rng(self.random_state).permutation(len(wanted))[:SCOUTED]
        few = left_out(plain[some], wanted[some], self.random_state, 2, min(SCOUTS, self.trees))
        return _relative(few) < SCOUT_MARGIN * _relative(smooth_off[some])

    def _seen(self, workloads: Sequence[KernelFacts], latency_s: Any) -> KernelArrays:
        seconds = None
        if self._timed:
            if latency_s is None:
                raise UsageError("this KernelRegressor was fitted with latencies: pass latency_s")
            seconds = check_costs(latency_s, len(workloads), 1, "latency_s")
        return arrays(workloads, self.operators_, seconds)

    def _answer(self, workloads: Sequence[Any], latency_s: Any) -> tuple[Floats, Floats, Any]:
        """Log costs, standard deviations, and which model answered."""
        self._fitted("errors_")
        seen = self._seen([facts(w) for w in workloads], latency_s)
        mean, spread = np.empty(len(workloads)), np.empty(len(workloads))
        kinds = np.array([f if f in self._models else POOLED for f in seen.families])
        for kind in np.unique(kinds):
            rows = kinds == kind
            off, spread[rows] = self._models[kind].predict_log(
                seen.features[rows], seen.marks[rows]
            )
            if kind in self._trees:
                mean[rows] = seen.base[rows] + self._trees[kind].predict_log(seen.plain[rows])
            else:
                mean[rows] = off + seen.physics(self.rates_, rows, kind, self._least)
        return mean, spread, kinds

    def predict(self, xs: Sequence[Any], latency_s: Any = None) -> Floats:
        """(n,) costs.

        Raises:
            CostMiss: with ``unknown="refuse"``, workloads out of distribution; named.
        """
        mean, spread, kinds = self._answer(xs, latency_s)
        if self.unknown == "refuse":
            foreign = self._foreign(spread, kinds)
            if foreign.any():
                missing = [x for x, bad in zip(xs, foreign, strict=True) if bad]
                raise CostMiss(
                    f"{missing[0]!s:.60} and {len(missing) - 1} more are unlike every kernel "
                    "this predictor was fitted on: measure them, or some like them",
                    tuple(_key(x) for x in missing),
                )
        found: Floats = np.exp(mean)
        return found

    def predict_interval(
        self, xs: Sequence[Any], level: float = 0.95, latency_s: Any = None
    ) -> tuple[Floats, Floats]:
        """(low, high), each (n,): holds a new kernel's cost with probability ``level``."""
        mean, spread, kinds = self._answer(xs, latency_s)
        factor = {k: conformal_quantile(self.errors_[k], level) for k in np.unique(kinds)}
        half = spread * np.array([factor[k] for k in kinds])
        return np.exp(mean - half), np.exp(mean + half)

    def spread(self, xs: Sequence[Any], latency_s: Any = None) -> Floats:
        """(n,) standard deviations of the log costs, by the model's own account."""
        found: Floats = self._answer(xs, latency_s)[1]
        return found

    def out_of_distribution(self, xs: Sequence[Any], latency_s: Any = None) -> Any:
        """(n,) whether each workload is unlike what was fitted."""
        _, spread, kinds = self._answer(xs, latency_s)
        return self._foreign(spread, kinds)

    def _foreign(self, spread: Floats, kinds: Any) -> Any:
        return spread > FOREIGN * np.array([self.usual_[k] for k in kinds])

    def save(self, path: str | Path) -> None:
        """Writes ``lwprof.kernel_regressor/3`` (JSON; served by NumPy alone)."""
        self._fitted("errors_")
        entry = {
            "schema": SCHEMA, "features": NAMES, "timed": self._timed,
            "random_state": self.random_state, "unknown": self.unknown,
            "fingerprint": self.fingerprint_, "operators": list(self.operators_),
            "rates": {k: r.tolist() for k, r in self.rates_.items()}, "least": self._least,
            "models": {k: m.to_json() for k, m in self._models.items()},
            "trees": {k: t.to_json() for k, t in self._trees.items()},
            "errors": {k: e.tolist() for k, e in self.errors_.items()}, "usual": self.usual_,
        }  # fmt: skip
        Path(path).write_text(json.dumps(entry), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> KernelRegressor:
        """Reads what :meth:`save` wrote.

        Raises:
            StoreError: not such a file, or of features that this version does not compute.
        """
        try:
            entry = json.loads(Path(path).read_text(encoding="utf-8"))
            if entry["schema"] != SCHEMA or tuple(entry["features"]) != NAMES:
                raise ValueError("another schema or other features: fit it again")
            found = cls(int(entry["random_state"]), str(entry["unknown"]))
            found._timed = bool(entry["timed"])
            found._models = {k: Smooth.from_json(m) for k, m in entry["models"].items()}
            found.types_ = tuple(k for k in found._models if k != POOLED)
            found.operators_ = tuple(str(op) for op in entry["operators"])
            found.rates_ = {k: np.asarray(r, dtype=float) for k, r in entry["rates"].items()}
            found._least = float(entry["least"])
            found.errors_ = {k: np.asarray(e, dtype=float) for k, e in entry["errors"].items()}
            columns = len(PLAIN) + len(found.operators_) + 1 + found._timed
            found._trees = {k: Trees.from_json(t, columns) for k, t in entry["trees"].items()}
            found.usual_ = {k: float(u) for k, u in entry["usual"].items()}
            found.fingerprint_ = str(entry["fingerprint"])
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} is no kernel regressor of this version ({error}): run lwprof fit again"
            ) from None


def _relative(off: Floats) -> float:
    """Mean relative error of logs; one that is off by more than its whole counts as that."""
    return float(np.minimum(np.abs(np.expm1(off)), 1.0).mean())


def _key(workload: Any) -> str:
    if isinstance(workload, Mapping):
        text = json.dumps(workload, sort_keys=True)
        return "d:" + hashlib.sha256(text.encode()).hexdigest()
    return str(workload.key)
