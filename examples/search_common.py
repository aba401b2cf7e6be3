"""The problem that the search examples share: an FBNet space under a latency limit.

Costs and merit are made up here (seeded), so that the examples run anywhere in seconds. With a
measured device, the table is ``lwprof.cost_model("pi4").table(space)``.
"""

import numpy as np

from lwprof.predictors.block_table import BlockTable
from lwprof.search import space
from lwprof.search.constraints import Constraints, Limit, Priced
from lwprof.search.problem import Problem


def made_up_problem(limit_s: float = 0.011) -> Problem:
    """22 blocks of nine choices; dearer choices tend to be better."""
    fbnet, rng = space("fbnet"), np.random.default_rng(0)
    costs = rng.random((22, 9, 1)) * 1e-3
    merit = 0.5 * costs[:, :, 0] * 1e3 + 0.5 * rng.random((22, 9))
    table = BlockTable(fbnet.choices, costs, [2e-3], source="simulated")

    def worth(codes: np.ndarray) -> np.ndarray:
        return 60 + merit[np.arange(22), codes].sum(axis=1)

    return Problem(fbnet, worth, Constraints([Limit("latency_s", limit_s)], [Priced(table)]), merit)
