"""Once-for-all: an efficiency predictor with the face that its evolution finder calls.

``get_efficiency(arch)`` (read at f03b267) takes ``{"ks": [20], "e": [20], "d": [5], "r": [size]}``
and answers one number; finders call it once for every candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lwprof.predictors.space import Floats
from lwprof.search.constraints import Costs
from lwprof.search.spaces import space


class EfficiencyPredictor:
    """Latency of Once-for-all's MobileNetV3 sub-networks, in milliseconds unless said otherwise.

    Args:
        costs: of the space ``ofa_mobilenet_v3``.
        quantity: which of them.
        scale: what answers are multiplied by.
    """

    def __init__(self, costs: Costs, quantity: str = "latency_s", scale: float = 1e3) -> None:
        self._space, self._costs, self._scale = space("ofa_mobilenet_v3"), costs, scale
        self._column = costs.quantities.index(quantity)

    def get_efficiency(self, arch: Mapping[str, Any]) -> float:
        """The cost of one architecture."""
        return float(self.get_efficiencies([arch])[0])

    def get_efficiencies(self, archs: Sequence[Mapping[str, Any]]) -> Floats:
        """(n,): many at once, a thousand times faster than one by one."""
        codes = self._space.encode([_own(arch) for arch in archs])
        found: Floats = self._costs.predict(codes)[:, self._column] * self._scale
        return found


def _own(arch: Mapping[str, Any]) -> dict[str, Any]:
    size = arch["r"]
    size = size[0] if isinstance(size, Sequence | np.ndarray) else size
    return {"resolution": int(size), "depths": list(arch["d"]), "kernels": list(arch["ks"]),
            "expansions": list(arch["e"])}  # fmt: skip
