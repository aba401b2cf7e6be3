"""TinyNAS's first stage (arXiv 2007.10319): which resolution and width to search at all.

Random networks of every resolution × width are held against the memory limits; of those that fit,
the MACs are compared as distributions. The more MACs fit into the memory, the more accurate the
networks of that space are likely to be, without training one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats
from lwprof.search.spaces.tinynas import RESOLUTIONS, WIDTHS, TinyNas

SHARE = 0.8
"""The paper compares distributions where they matter: at the MACs that 20 % of networks exceed."""


@dataclass(frozen=True, slots=True)
class SubSpace:
    """One resolution and width under memory limits.

    Attributes:
        feasible: share of its random networks that fit.
        macs: of those that fit, sorted: their distribution.
    """

    resolution: int
    width: float
    feasible: float
    macs: Floats

    def score(self, share: float = SHARE) -> float:
        """MACs that a share of the fitting networks stays below; 0 where too few fit."""
        return float(np.quantile(self.macs, share)) if len(self.macs) else 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen space first, then the others by their score."""

    best: SubSpace
    all: tuple[SubSpace, ...]


def choose_space(space: TinyNas, sram_bytes: float, flash_bytes: float, *, n: int = 1000,
                 resolutions: Sequence[int] = RESOLUTIONS, widths: Sequence[float] = WIDTHS,
                 share: float = SHARE, least_feasible: float = 0.02,
                 random_state: int = 0) -> Choice:  # fmt: skip
    """The resolution and width whose networks have most MACs within the memory.

    Args:
        sram_bytes: limit on peak activation memory, int8.
        flash_bytes: limit on weights, int8, and biases.
        n: random networks of each space.
        least_feasible: spaces of which fewer fit are left out: their few are no distribution.

    Raises:
        UsageError: no space has networks that fit; the message says what the least one needs.
    """
    rng = np.random.default_rng(random_state)
    found, least = [], (np.inf, np.inf)
    for resolution in resolutions:
        for width in widths:
            codes = space.within(resolution, width, n, rng)
            needs = space.footprint(codes)
            fits = (needs.peak_memory_bytes <= sram_bytes) & (needs.flash_bytes <= flash_bytes)
            least = min(
                least, (float(needs.peak_memory_bytes.min()), float(needs.flash_bytes.min()))
            )
            macs = np.sort(needs.macs[fits])
            found.append(SubSpace(resolution, width, float(fits.mean()), macs))
    usable = [one for one in found if len(one.macs) and one.feasible >= least_feasible]
    if not usable:
        raise UsageError(f"no space has networks within {sram_bytes:.0f} B of memory and "
                         f"{flash_bytes:.0f} B of flash: the smallest seen needs {least[0]:.0f} B "
                         f"and {least[1]:.0f} B")  # fmt: skip
    order = sorted(usable, key=lambda one: -one.score(share))
    return Choice(order[0], tuple(order))


def fitting(space: TinyNas, chosen: SubSpace, sram_bytes: float, flash_bytes: float, n: int,
            rng: np.random.Generator) -> Codes:  # fmt: skip
    """Random networks of the chosen space that fit, largest MACs first: a search's opening."""
    codes = space.within(chosen.resolution, chosen.width, n, rng)
    needs = space.footprint(codes)
    fits = (needs.peak_memory_bytes <= sram_bytes) & (needs.flash_bytes <= flash_bytes)
    return codes[fits][np.argsort(-needs.macs[fits], kind="stable")]
