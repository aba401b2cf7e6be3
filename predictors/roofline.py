"""The roofline as a prior: a kernel's time from its work and its traffic, both with rates ≥ 0.

t ≈ c0 + c1·MACs + c2·padded MACs + c3·bytes: the sum instead of the maximum of Williams et
al. (2009), since kernels overlap computing and moving only in part. Rates come from non-negative
least squares on relative errors, so that small kernels count as much as large ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwprof.predictors.kernel_features import KernelShape

Floats = NDArray[np.float64]

COLUMNS = ("call", "macs", "padded_macs", "bytes")


def design(shapes: Sequence[KernelShape]) -> Floats:
    """Counts whose weighted sum is the time, shape (n, 4)."""
    return np.array(
        [(1.0, s.macs, s.padded_macs, s.bytes) for s in shapes], dtype=np.float64
    ).reshape(-1, len(COLUMNS))


def fit_roofline(shapes: Sequence[KernelShape], y: Floats) -> Floats:
    """Rates, shape (4,), each ≥ 0: seconds per call, MAC, padded MAC and byte.

    Args:
        y: positive costs, shape (n,).
    """
    from scipy.optimize import nnls

    rows = design(shapes) / y[:, None]
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    rates, _ = nnls(rows / scale, np.ones(len(y)))
    found: Floats = rates / scale
    return found


def roofline(shapes: Sequence[KernelShape], rates: Floats) -> Floats:
    """Times by the roofline, shape (n,); never 0, so that its logarithm exists."""
    found: Floats = np.maximum(design(shapes) @ rates, 1e-12)
    return found
