"""TinyNAS's choice of a space, by brute force on a small grid, and its memory by liveness."""

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.profiler.graph import read
from lwprof.search.spaces.tinynas import TinyNas
from lwprof.search.strategies.choose_space import choose_space, fitting

SRAM, FLASH = 320 * 1024, 1024 * 1024


def test_the_chosen_space_has_the_larger_macs_on_a_grid() -> None:
    space, grid = TinyNas(), ((64, 112, 176), (0.3, 0.5, 0.8))
    choice = choose_space(space, SRAM, FLASH, n=300, resolutions=grid[0], widths=grid[1])
    brute = {}
    for resolution in grid[0]:
        for width in grid[1]:
            codes = space.within(resolution, width, 1500, np.random.default_rng(99))
            needs = space.footprint(codes)
            fits = (needs.peak_memory_bytes <= SRAM) & (needs.flash_bytes <= FLASH)
            if fits.mean() > 0.02:
                brute[resolution, width] = float(np.quantile(needs.macs[fits], 0.8))
    order = sorted(brute, key=lambda one: -brute[one])
    assert (choice.best.resolution, choice.best.width) == order[0]
    assert len(choice.all) == len(brute) > 1 and brute[order[0]] > 1.05 * brute[order[1]]


def test_the_pick_fits_by_liveness() -> None:
    space = TinyNas()
    choice = choose_space(space, SRAM, FLASH, n=100)
    code = fitting(space, choice.best, SRAM, FLASH, 300, np.random.default_rng(0))[0]
    graph = read(space.build(space.decode(code[None])[0]))
    assert graph.peak_memory_inplace_bytes is not None
    peak = graph.peak_memory_inplace_bytes / 4  # float32 in the graph, int8 on the device
    assert peak <= SRAM and peak == space.footprint(code[None]).peak_memory_bytes[0]
    assert graph.params is not None and graph.params <= FLASH


def test_memory_that_nothing_fits_is_refused_with_the_least() -> None:
    with pytest.raises(UsageError, match="the smallest seen needs"):
        choose_space(TinyNas(), 1024, 1024, n=20)
