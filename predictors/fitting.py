"""Fits a device's kernel regressor from its table, and says how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import UsageError
from lwprof.predictors.conformal import folds
from lwprof.predictors.fitted import saved_at
from lwprof.predictors.kernel_features import facts
from lwprof.predictors.kernel_regressor import KernelRegressor
from lwprof.predictors.kernel_samples import LEAST
from lwprof.predictors.visits import Occurrence, pooled, speeds
from lwprof.profiler.kernels import Workload
from lwprof.profiler.store import Context, Fact, Store

Floats = NDArray[np.float64]

SCHEMA = "lwprof.fit/1"
_LEVEL = 0.9
_WEAK = 0.15
_FEW = 12
_FOLDS = 5
ALL = "all kernels"


@dataclass(frozen=True, slots=True)
class Known:
    """One kernel of a table, as a fit takes it.

    Attributes:
        latency_s: in the company of a network, or what that is estimated to be from the
            kernel alone (``corrected``).
    """

    workload: Workload
    latency_s: float
    corrected: bool


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """How well a kind's kernels are predicted when they are left out of the fit.

    Attributes:
        name: as ``kernel_features.facts`` calls the kind: ``Conv pointwise``, ``Gemm`` …
        error: median of |prediction/cost − 1|; ``within``: share within 10 %.
        coverage: share of 90 % intervals that hold the cost.
        share: of the table's total time.
    """

    name: str
    kernels: int
    error: float
    within: float
    coverage: float
    share: float

    def to_json(self) -> dict[str, Any]:
        """Plain fields."""
        return {"family": self.name, "kernels": self.kernels, "median_error": self.error,
                "within_10_percent": self.within, "coverage_90": self.coverage,
                "share_of_time": self.share}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted context.

    Attributes:
        context_factors: by family, in-network time over the time alone.
        kernels: how many it was fitted on.
        skipped: kernels of the table that could not be used, by reason.
        path: where it was saved.
    """

    device: str
    context: Context
    regressor: KernelRegressor
    families: tuple[FamilyReport, ...]
    context_factors: Mapping[str, float]
    kernels: int
    skipped: Mapping[str, int]
    path: Path

    @property
    def advice(self) -> tuple[str, ...]:
        """What to measure next: what is weak and takes time first, then what is scarce."""
        own = [family for family in self.families if family.name != ALL]
        weak = sorted((f for f in own if f.error > _WEAK), key=lambda f: -f.share * f.error)
        scarce = [f for f in own if f.kernels < _FEW and f not in weak]
        return tuple(
            [f"{f.name}: off by {f.error:.0%} on {f.kernels} kernels" for f in weak]
            + [f"{f.name}: only {f.kernels} kernels" for f in scarce]
        )

    def to_json(self) -> dict[str, Any]:
        """``lwprof.fit/1``."""
        return {
            "schema": SCHEMA,
            "device": self.device,
            "context": {**self.context.to_json(), "key": self.context.key},
            "kernels": self.kernels,
            "fingerprint": self.regressor.fingerprint_,
            "families": [family.to_json() for family in self.families],
            "context_factors": dict(self.context_factors),
            "skipped": dict(self.skipped),
            "advice": list(self.advice),
            "path": str(self.path),
        }


def fit_context(
    device: str, store: Store, context: Context, folder: Path, random_state: int = 0
) -> Fit:
    """Fits one context's kernels and saves the regressor.

    Args:
        folder: where fitted predictors of this store are kept.

    Raises:
        UsageError: too few kernels in the table; it says how to get more.
    """
    known, factors, skipped = table_kernels(store, context, random_state)
    if len(known) < LEAST:
        raise UsageError(
            f"the table of {device!r} has {len(known)} usable kernels, a fit needs {LEAST} and is "
            f"good from about 200: run lwprof measure --device {device} --budget 20m"
        )
    regressor = KernelRegressor(random_state)
    regressor.fit([k.workload for k in known], [k.latency_s for k in known])
    path = saved_at(folder, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    regressor.save(path)
    reports = family_reports(known, random_state)
    return Fit(device, context, regressor, reports, factors, len(known), skipped, path)


def table_kernels(
    store: Store, context: Context, random_state: int = 0
) -> tuple[list[Known], dict[str, float], dict[str, int]]:
    """A table's kernels as in-network times; context factors; what was left out, by reason.

    A kernel's time in networks is freed of what each network's visit was off by. Alone, a kernel
    finds its inputs in the caches: by family, the median ratio of kernels that were measured both
    ways puts the others right.
    """
    subjects = store.subjects(kind="workload", context=context.key)
    found = store.lookup([subject.key for subject in subjects], context.key)
    skipped = {"below the resolution": 0, "unknown shape": 0}
    usable: list[tuple[Workload, str, float | None, float | None]] = []
    for subject in subjects:
        workload = Workload.from_description(subject.description, subject.key)
        numbers = found.get(subject.key, {})
        inside, alone = _value(numbers, "latency_s"), _value(numbers, "isolated_latency_s")
        kind = _kind(workload)
        if kind is None:
            skipped["unknown shape"] += 1
        elif inside is None and alone is None:
            skipped["below the resolution"] += 1
        else:
            usable.append((workload, kind, inside, alone))
    workloads = {workload.key: workload for workload, _, inside, _ in usable if inside is not None}
    occurrences = [o for o in visited(store, context) if o.workload in workloads]
    freed = pooled(occurrences, speeds(occurrences, workloads, random_state))
    factors = _context_factors(usable)
    every = factors.get(ALL, 1.0)
    known = [
        Known(workload, freed.get(workload.key, inside), False) if inside is not None
        else Known(workload, (alone or 0.0) * factors.get(family, every), True)
        for workload, family, inside, alone in usable
    ]  # fmt: skip
    return known, factors, {k: n for k, n in skipped.items() if n}


def visited(store: Store, context: Context) -> list[Occurrence]:
    """Every kernel's time in every network of a context; those below the resolution left out."""
    found = []
    for subject in store.subjects(kind="model", context=context.key):
        kernels = store.kernels(subject.key, context.key)
        for kernel in kernels["kernels"] if kernels else ():
            told = kernel["latency_s"]
            if kernel["workload"] and told and not told.get("at_most") and told["value"] > 0:
                found.append(Occurrence(subject.key, kernel["workload"], told["value"]))
    return found


def family_reports(known: Sequence[Known], random_state: int) -> tuple[FamilyReport, ...]:
    """Held-out errors by kind, the one that takes most time first.

    Every fifth of the kernels is predicted, with its intervals, by a fit that saw none of it.
    """
    cost = np.array([kernel.latency_s for kernel in known])
    mean, low, high = (np.empty(len(known)) for _ in range(3))
    for held in folds(len(known), np.random.default_rng(random_state), _FOLDS, single_to=0):
        kept = np.setdiff1d(np.arange(len(known)), held)
        if len(kept) < LEAST:
            kept = np.arange(len(known))  # too few to leave any out: said by their number
        model = KernelRegressor(random_state)
        model.fit([known[i].workload for i in kept], cost[kept])
        asked = [known[i].workload for i in held]
        mean[held] = model.predict(asked)
        low[held], high[held] = model.predict_interval(asked, level=_LEVEL)
    off, inside = np.abs(mean / cost - 1), (low <= cost) & (cost <= high)
    kinds = np.array([_kind(kernel.workload) for kernel in known])
    reports = []
    for name in (ALL, *np.unique(kinds)):
        rows = np.full(len(known), True) if name == ALL else kinds == name
        reports.append(
            FamilyReport(
                str(name), int(rows.sum()), float(np.median(off[rows])),
                float(np.mean(off[rows] <= 0.10)), float(np.mean(inside[rows])),
                float(cost[rows].sum() / cost.sum()),
            )
        )  # fmt: skip
    return tuple(sorted(reports, key=lambda report: -report.share))


def _kind(workload: Workload) -> str | None:
    """The kind of a workload's kernel; None where its shapes are not all known."""
    try:
        return facts(workload).kind
    except UsageError:
        return None


def _context_factors(
    usable: Sequence[tuple[Workload, str, float | None, float | None]],
) -> dict[str, float]:
    ratios: dict[str, list[float]] = {}
    for _, family, inside, alone in usable:
        if inside is not None and alone is not None:
            for name in (family, ALL):
                ratios.setdefault(name, []).append(inside / alone)
    return {name: float(np.median(r)) for name, r in ratios.items() if len(r) >= 3}


def _value(facts: Mapping[str, Fact], quantity: str) -> float | None:
    fact = facts.get(quantity)
    return None if fact is None or fact.at_most or fact.value <= 0 else fact.value
