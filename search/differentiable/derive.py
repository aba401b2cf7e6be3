"""The network at the end of a differentiable search: most probable within its limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.predictors.block_table import BlockTable
from lwprof.predictors.space import Codes, Floats
from lwprof.search.strategies.exact import best_of_sums


def derive(logits: Any, table: BlockTable, limit: float, *, quantity: str = "latency_s",
           within: float | None = None) -> Codes | None:  # fmt: skip
    """The code of highest probability whose cost is at most the limit: (blocks,).

    The argmax of every block alone may miss the limit by far when the supernet is undecided; the
    integer programme over all blocks cannot.

    Args:
        logits: (blocks, most choices), numpy or torch; −inf where there is no such choice.
        limit: in the unit of the quantity.
        within: also require at least (1 − within) of the limit, where any code lies there.

    Returns:
        None where no code meets the limit.
    """
    values = np.asarray(logits.detach().numpy() if hasattr(logits, "detach") else logits, float)
    likely = np.where(np.isfinite(values), values, -1e6) - values.max(axis=1, keepdims=True)
    column = table.quantities.index(quantity)
    costs: Floats = np.nan_to_num(table.costs[:, :, column])
    room = limit - float(table.base[column])
    if within is not None:
        least = room - within * limit
        found = best_of_sums(likely, table.choices, [(costs, least, room)])
        if found is not None:
            return found
    return best_of_sums(likely, table.choices, [(costs, -np.inf, room)])
