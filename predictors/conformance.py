"""What every cost model promises, as checks that any implementation can be put through.

    from lwprof.predictors.conformance import check
    assert not check(cost, ["a.onnx", model_proto])

Whoever writes a cost model of their own runs this in their tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lwprof.errors import CostMiss, LwprofError
from lwprof.profiler.statistics.estimate import SOURCES

UNITS = ("_s", "_j", "_w", "_bytes")
LABELS = SOURCES | {"additive"}
Law = Callable[[Any, Sequence[Any]], str]


def check(cost: Any, networks: Sequence[Any], foreign: Any = None) -> tuple[str, ...]:
    """Every promise that a cost model breaks, in words; empty where it keeps them all.

    Args:
        cost: the cost model.
        networks: two or more models that it knows.
        foreign: a model that it does not know; it must raise CostMiss or say ``extrapolated``.
    """
    broken = []
    for law in LAWS:
        try:
            said = law(cost, networks)
        # An implementation under test may fail in any way; that is the finding.
        except Exception as error:  # noqa: BLE001
            said = f"{law.__name__.strip('_')}: {type(error).__name__}: {error}"
        if said:
            broken.append(said)
            if law is _shapes:
                return tuple(broken)
    if foreign is not None:
        said = _foreign(cost, foreign)
        broken += [said] if said else []
    return tuple(broken)


def _shapes(cost: Any, networks: Sequence[Any]) -> str:
    if len(networks) < 2:
        return "the suite needs two networks or more"
    found = cost.predict(list(networks))
    names = tuple(found.quantities)
    if not names or len(set(names)) < len(names) or names != tuple(cost.quantities):
        return f"quantities are named once each, alike in model and answer, not {names}"
    if strange := [name for name in names if not name.endswith(UNITS)]:
        return f"{strange[0]} does not end in an SI unit ({', '.join(UNITS)})"
    wanted = (len(networks), len(names))
    for part in ("mean", "low", "high", "source"):
        if np.shape(getattr(found, part)) != wanted:
            return f"{part} has shape {np.shape(getattr(found, part))}, not {wanted}"
    return ""


def _values(cost: Any, networks: Sequence[Any]) -> str:
    found = cost.predict(list(networks))
    known = np.isfinite(found.mean)
    if not known.any(axis=0).any():
        return "no quantity has a value"
    if (found.mean[known] < 0).any():
        return "a cost is negative"
    if not ((found.low <= found.mean) & (found.mean <= found.high))[known].all():
        return "a mean lies outside its interval"
    return ""


def _sources(cost: Any, networks: Sequence[Any]) -> str:
    said = {str(s) for s in np.asarray(cost.predict(list(networks)).source).ravel()}
    return f"unknown source {min(said - LABELS)!r}" if said - LABELS else ""


def _one_by_one(cost: Any, networks: Sequence[Any]) -> str:
    together = cost.predict(list(networks)).mean
    for row, model in zip(together, networks, strict=True):
        if not np.array_equal(cost.predict([model]).mean[0], row, equal_nan=True):
            return "a model's cost depends on the others in the list"
        if not np.array_equal(cost.predict(model).mean[0], row, equal_nan=True):
            return "a model costs something else when it is not in a list"
    backwards = cost.predict(list(networks)[::-1]).mean[::-1]
    return "" if np.array_equal(backwards, together, equal_nan=True) else "costs depend on order"


def _quantiles(cost: Any, networks: Sequence[Any]) -> str:
    mean = cost.predict(list(networks)).mean
    known = np.isfinite(mean)
    lower, upper = (cost.quantile(list(networks), level) for level in (0.5, 0.95))
    if np.shape(upper) != mean.shape:
        return f"quantiles have shape {np.shape(upper)}, not {mean.shape}"
    if not (lower[known] <= upper[known]).all():
        return "a higher level has a lower quantile"
    if not (upper[known] >= mean[known]).all():
        return "the 95 % quantile lies below the mean"
    try:
        cost.quantile(list(networks), 1.5)
    except LwprofError:
        return ""
    return "a level of 1.5 is answered"


def _explanations(cost: Any, networks: Sequence[Any]) -> str:
    found = cost.predict(list(networks))
    for row, model in zip(found.mean, networks, strict=True):
        parts = cost.explain(model)
        for name, value in zip(found.quantities, row, strict=True):
            kernels = [getattr(kernel, name, None) for kernel in parts.kernels]
            if not np.isfinite(value) or not kernels or any(k is None for k in kernels):
                continue  # a peak is no sum, and not every quantity is known by kernel
            total = sum(_share(k) for k in kernels)
            gap = getattr(parts, "gap_s", None)
            total += _share(gap) if name == "latency_s" and gap is not None else 0.0
            if not np.isclose(total, value, rtol=1e-6):
                return f"{name}: the parts of {total:g} do not add up to {value:g}"
    return ""


def _share(part: Any) -> float:
    """What a part counts in a sum: half of its bound where only a bound is known."""
    return float(part.value) / 2 if part.at_most else float(part.value)


def _bad_input(cost: Any, _: Sequence[Any]) -> str:
    try:
        cost.predict(["there-is-no-such-file.onnx"])
    except LwprofError:
        return ""
    return "a missing file is answered"


def _foreign(cost: Any, foreign: Any) -> str:
    try:
        found = cost.predict([foreign])
    except CostMiss as miss:
        return "" if miss.args and str(miss) else "CostMiss does not say what is missing"
    except LwprofError as error:
        return f"something unknown raises {type(error).__name__} instead of CostMiss"
    doubtful = np.asarray(found.source) == "extrapolated"
    if not doubtful.any():
        return "something unknown is answered without the source extrapolated"
    if not (found.low < found.high)[doubtful].all():
        return "an extrapolated cost has no interval"
    return ""


LAWS: tuple[Law, ...] = (
    _shapes, _values, _sources, _one_by_one, _quantiles, _explanations, _bad_input,
)  # fmt: skip
