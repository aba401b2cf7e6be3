"""The efficiency predictor that Once-for-all's evolution finder calls, on a table of ours."""

import numpy as np

from lwprof.predictors.block_table import BlockTable
from lwprof.search import space
from lwprof.search.adapters.ofa import EfficiencyPredictor
from lwprof.search.constraints import Priced

ofa = space("ofa_mobilenet_v3")
costs = np.full((len(ofa.choices), max(ofa.choices), 1), np.nan)
for block, options in enumerate(ofa.choices):
    costs[block, :options, 0] = np.linspace(0, 1e-3, options)
predictor = EfficiencyPredictor(Priced(BlockTable(ofa.choices, costs, [5e-3], source="simulated")))
arch = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": [224]}
smaller = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": [128]}
print(f"{predictor.get_efficiency(arch):.1f} ms, {predictor.get_efficiency(smaller):.1f} ms")
