"""From a device's cost model to costs that a search can ask for thousands of codes at once.

Spaces whose blocks add up get a block table; where a runtime's rewrites reach across blocks
(dead edges of a cell), a regressor is fitted to whole networks instead. Either is then checked
against whole networks that it has not seen, and the error becomes its spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats, Space
from lwprof.search.constraints import Costs, Priced, Regressed, log_spread

CHECKED = 12
"""Whole networks that a table is checked against."""
FITTED = 120
"""Whole networks that a regressor is fitted to where costs do not add up."""
COUNTED = ("peak_memory_bytes", "size_bytes")


def priced(cost: Any, space: Space, device: str, rng: np.random.Generator,
           progress: Any = lambda *_: None) -> Costs:  # fmt: skip
    """Latency and energy of a space's codes by a device's cost model.

    Args:
        cost: a cost model: ``predict`` and ``table``.
        progress: called with text, what is done and how much there is.

    Raises:
        CostMiss: the cost model does not know a kernel of one of the networks.
        UsageError: the space cannot build networks.
    """
    if len(space.rewrites) > 1 and hasattr(space, "mmacs"):
        return _regressed(cost, space, device, rng, progress)
    progress("pricing every block", 0, 1)
    table = cost.table(space)
    codes = space.sample(CHECKED, rng)
    whole, width = _whole(cost, space, codes, progress, table.quantities)
    said = table.predict(codes)
    spread = tuple(float(np.hypot(log_spread(said[:, q], whole[:, q]), width[q]))
                   for q in range(len(table.quantities)))  # fmt: skip
    return Priced(table, device, spread, _environment(cost))


def _regressed(cost: Any, space: Space, device: str, rng: np.random.Generator,
               progress: Any) -> Regressed:  # fmt: skip
    from lwprof.predictors.table_regressor import TableRegressor

    codes = np.unique(space.sample(FITTED, rng), axis=0)
    codes = codes[space.connected(codes)]
    whole, _ = _whole(cost, space, codes, progress, ("latency_s",))
    fitted = TableRegressor(space).fit(codes, whole[:, 0])
    return Regressed(fitted, device, environment=_environment(cost))


def _environment(cost: Any) -> str:
    return str(getattr(getattr(cost, "context", None), "environment", "hardware"))


def _whole(cost: Any, space: Space, codes: Codes, progress: Any,
           quantities: tuple[str, ...]) -> tuple[Floats, Floats]:  # fmt: skip
    """Costs of whole networks (n, q), and the model's own relative uncertainty (q,)."""
    columns = [cost.quantities.index(q) for q in quantities]
    rows, widths = [], []
    for i, text in enumerate(space.decode(codes)):
        progress("pricing whole networks", i, len(codes))
        found = cost.predict([space.build(text)])  # one at a time: graphs hold their weights
        mean, low, high = (np.asarray(a)[0, columns] for a in (found.mean, found.low, found.high))
        rows.append(mean)
        ratio = np.where(np.isfinite(low) & (low > 0) & np.isfinite(high), high / low, np.nan)
        widths.append(np.log(ratio) / (2 * 1.96))
    wide = np.array(widths)
    known = [float(np.nanmedian(c)) if np.isfinite(c).any() else 0.0 for c in wide.T]
    return np.array(rows), np.array(known)


class Counted:
    """Peak memory and size, counted from the graphs: exact, the same on every device.

    A space that can compute them for many codes (``footprint``) is asked; else every network is
    built and inspected once, some ten milliseconds each.
    """

    quantities = COUNTED

    def __init__(self, space: Space, device: str = "") -> None:
        self.device = device
        self._space = space
        self._known: dict[tuple[int, ...], tuple[float, float]] = {}

    def predict(self, codes: Codes) -> Floats:
        """(n, 2) bytes."""
        footprint = getattr(self._space, "footprint", None)
        if footprint is not None:
            found = footprint(codes)
            return np.column_stack([found.peak_memory_bytes, found.flash_bytes])
        return np.array([self._one(tuple(code)) for code in codes.tolist()]).reshape(-1, 2)

    def quantile(self, codes: Codes, probability: float) -> Floats:
        """The same: what is counted is certain."""
        return self.predict(codes)

    def _one(self, code: tuple[int, ...]) -> tuple[float, float]:
        if code not in self._known:
            from lwprof.profiler.graph import read

            graph = read(self._space.build(self._space.decode(np.array([code]))[0]))
            peak = graph.peak_memory_bytes
            if peak is None:
                raise UsageError(f"the peak memory of {code} cannot be told from its graph")
            self._known[code] = (float(peak), float(graph.size_bytes))
        return self._known[code]
