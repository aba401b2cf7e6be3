"""Costs of kernels never measured, from kernels that were: one model per family of kernels.

A family (pointwise convolutions, poolings, additions …) has a roofline with rates of its own and,
where it has enough members, boosted trees for what the roofline leaves: staircases over
channels, strides, small spatial sizes. Families too small to fit use the model of all kernels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.conformal import conformal_quantile, folds
from lwprof.predictors.kernel_features import NAMES, KernelShape, kernel_shape, matrix
from lwprof.predictors.roofline import COLUMNS, fit_roofline, roofline
from lwprof.predictors.trees import Trees, grow
from lwprof.profiler.kernels import Workload

Floats = NDArray[np.float64]

SCHEMA = "lwprof.kernel-regressor/1"
LEAST = 8
"""Kernels that a fit needs."""
_FAMILY_LEAST = 6
_TREES_FROM = 20
# How far outside what was measured a feature (a logarithm) may lie: a factor of two.
_MARGIN = float(np.log(2.0))
# An extrapolation's interval is this much wider, in the logarithm.
_WIDER = 2.0
POOLED = "all kernels"


@dataclass(frozen=True, slots=True)
class Family:
    """A fitted family.

    Attributes:
        rates: of the roofline, shape (4,).
        trees: for the logarithm of cost over roofline; None where ``offset`` must do.
        offset: median of that logarithm.
        low, high: range of each feature among the measured kernels.
        errors: logs of prediction over cost of kernels left out of the fit, shape (n,).
    """

    rates: Floats
    trees: Trees | None
    offset: float
    low: Floats
    high: Floats
    errors: Floats

    def predict(self, shapes: Sequence[KernelShape]) -> Floats:
        """Costs, shape (n,)."""
        base = roofline(shapes, self.rates)
        rest = self.trees.predict(matrix(shapes)) if self.trees else self.offset
        return np.asarray(base * np.exp(rest), dtype=np.float64)

    def knows(self, shapes: Sequence[KernelShape]) -> NDArray[np.bool_]:
        """Whether each kernel lies among the measured ones, within a factor of two."""
        x = matrix(shapes)
        inside = (x >= self.low - _MARGIN) & (x <= self.high + _MARGIN)
        return np.asarray(inside.all(axis=1), dtype=np.bool_)


class KernelRegressor:
    """Seconds (or joules) of kernels from their workloads.

    Args:
        random_state: seed of the trees and of the folds.

    Attributes:
        families_: fitted families by name, ``POOLED`` among them.
        n_kernels_: kernels it was fitted on.
        fingerprint_: digest of those data.
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, workloads: Sequence[Workload], y: Sequence[float] | Floats) -> Self:
        """Fits to measured costs.

        Args:
            workloads: each once.
            y: their costs in SI units, > 0, shape (n,).

        Raises:
            UsageError: too few kernels, doubled ones, or costs that are not positive numbers.
        """
        costs = np.asarray(y, dtype=np.float64)
        _check(workloads, costs)
        shapes = [kernel_shape(workload) for workload in workloads]
        known = [i for i, shape in enumerate(shapes) if shape is not None]
        if len(known) < LEAST:
            raise UsageError(f"only {len(known)} kernels have known shapes; a fit needs {LEAST}")
        found = [shape for shape in shapes if shape is not None]
        costs = costs[known]
        groups: dict[str, list[int]] = {}
        for index, shape in enumerate(found):
            groups.setdefault(shape.family, []).append(index)
        self.families_ = {POOLED: self._family(found, costs)}
        for name, members in sorted(groups.items()):
            if len(members) >= _FAMILY_LEAST:
                part = [found[i] for i in members]
                self.families_[name] = self._family(part, costs[members])
        self.n_kernels_ = len(known)
        pairs = sorted(
            (workloads[i].key, repr(float(c))) for i, c in zip(known, costs, strict=True)
        )
        self.fingerprint_ = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
        return self

    def predict(self, workloads: Sequence[Workload]) -> Floats:
        """Costs, shape (n,).

        Raises:
            CostMiss: a workload has an unknown shape.
        """
        return self._by_family(workloads, lambda family, shapes: family.predict(shapes))

    def predict_interval(
        self, workloads: Sequence[Workload], level: float = 0.95
    ) -> tuple[Floats, Floats]:
        """Conformal intervals by family, wider outside what was measured; two arrays (n,)."""
        mean = self.predict(workloads)
        half = self._by_family(
            workloads,
            lambda family, shapes: (
                conformal_quantile(family.errors, level)
                * np.where(family.knows(shapes), 1.0, _WIDER)
            ),
        )
        return mean * np.exp(-half), mean * np.exp(half)

    def sources(self, workloads: Sequence[Workload]) -> NDArray[np.str_]:
        """``predicted`` or ``extrapolated``, shape (n,)."""
        known = self._by_family(
            workloads, lambda family, shapes: family.knows(shapes).astype(np.float64)
        )
        own = [_shape(w).family in self.families_ for w in workloads]
        return np.where((known > 0) & np.array(own, dtype=bool), "predicted", "extrapolated")

    def to_json(self) -> dict[str, Any]:
        """All that was fitted."""
        return {
            "schema": SCHEMA,
            "random_state": self.random_state,
            "n_kernels": self.n_kernels_,
            "fingerprint": self.fingerprint_,
            "features": list(NAMES),
            "rates": list(COLUMNS),
            "families": {
                name: {"rates": f.rates.tolist(), "offset": f.offset,
                       "trees": f.trees.to_json() if f.trees else None, "low": f.low.tolist(),
                       "high": f.high.tolist(), "errors": f.errors.tolist()}
                for name, f in self.families_.items()
            },
        }  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Writes ``path`` (JSON) and beside it each family's trees as ONNX."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, family in self.families_.items():
            if family.trees is not None:
                file = target.with_name(f"{target.stem}.{name.replace(' ', '_')}.onnx")
                file.write_bytes(family.trees.to_onnx().SerializeToString())
        target.write_text(json.dumps(self.to_json(), allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what ``save`` wrote; the file is data and is checked.

        Raises:
            UsageError: it is missing, malformed or of another version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls.from_json(data)
        except (OSError, json.JSONDecodeError) as error:
            raise UsageError(
                f"cannot read the predictor {path} ({error}): run lwprof fit"
            ) from None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The regressor that ``to_json`` described.

        Raises:
            UsageError: it is malformed or of another version.
        """
        if (
            not isinstance(data, dict)
            or data.get("schema") != SCHEMA
            or (data.get("features") != list(NAMES))
        ):
            raise UsageError("this predictor is of another version: run lwprof fit again")
        try:
            found = cls(int(data["random_state"]))
            found.n_kernels_, found.fingerprint_ = int(data["n_kernels"]), str(data["fingerprint"])
            found.families_ = {str(k): _family(v) for k, v in data["families"].items()}
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"a saved predictor is malformed ({error}): run lwprof fit") from None
        if POOLED not in found.families_:
            raise UsageError("a saved predictor lacks its fallback: run lwprof fit")
        return found

    def _family(self, shapes: Sequence[KernelShape], y: Floats) -> Family:
        errors = np.empty(len(y))
        for held in folds(len(y), np.random.default_rng(self.random_state), most=5, single_to=12):
            kept = np.setdiff1d(np.arange(len(y)), held)
            model = self._once([shapes[i] for i in kept], y[kept])
            errors[held] = np.log(model.predict([shapes[i] for i in held]) / y[held])
        model = self._once(shapes, y)
        return Family(model.rates, model.trees, model.offset, model.low, model.high, errors)

    def _once(self, shapes: Sequence[KernelShape], y: Floats) -> Family:
        rates = fit_roofline(shapes, y)
        rest = np.log(y / roofline(shapes, rates))
        x = matrix(shapes)
        trees = grow(x, rest, self.random_state) if len(y) >= _TREES_FROM else None
        return Family(rates, trees, float(np.median(rest)), x.min(axis=0), x.max(axis=0),
                      np.empty(0))  # fmt: skip

    def _by_family(self, workloads: Sequence[Workload], ask: Any) -> Floats:
        shapes = [_shape(workload) for workload in workloads]
        out = np.empty(len(shapes))
        groups: dict[str, list[int]] = {}
        for index, shape in enumerate(shapes):
            name = shape.family if shape.family in self.families_ else POOLED
            groups.setdefault(name, []).append(index)
        for name, members in groups.items():
            out[members] = ask(self.families_[name], [shapes[i] for i in members])
        return out


def _shape(workload: Workload) -> KernelShape:
    found = kernel_shape(workload)
    if found is None:
        raise CostMiss(f"the shapes of {workload} are not all known: measure it", (workload.key,))
    return found


def _check(workloads: Sequence[Workload], y: Floats) -> None:
    if y.ndim != 1 or len(workloads) != len(y):
        raise UsageError(f"{len(workloads)} workloads need as many costs, not {y.shape}")
    if len(y) < LEAST:
        raise UsageError(f"{len(y)} kernels are too few to fit: {LEAST} are the least")
    if not np.isfinite(y).all() or (y <= 0).any():
        worst = workloads[int(np.argmin(np.where(np.isfinite(y), y, -np.inf)))]
        raise UsageError(f"a cost must be a positive number of seconds or joules: see {worst}")
    keys = [workload.key for workload in workloads]
    if len(set(keys)) < len(keys):
        double = next(k for k in keys if keys.count(k) > 1)
        raise UsageError(f"workload {double[:16]}… is given more than once: pool its costs first")


def _family(data: Any) -> Family:
    width = len(NAMES)
    arrays = [np.array(data[k], dtype=np.float64) for k in ("rates", "low", "high", "errors")]
    rates, low, high, errors = arrays
    if rates.shape != (len(COLUMNS),) or low.shape != (width,) or high.shape != (width,):
        raise ValueError("arrays of the wrong shape")
    trees = Trees.from_json(data["trees"], width) if data["trees"] is not None else None
    return Family(rates, trees, float(data["offset"]), low, high, errors)
