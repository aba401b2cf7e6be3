"""Steps that every template takes: inline what surrounds the sum, tile the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Nest:
    """A function opened for scheduling.

    Attributes:
        schedule: the ``tvm.s_tir.Schedule``.
        anchor: the block that sums, writing to registers.
        output: the block that writes the function's result, with every
            elementwise step in between inlined into it.
        border: the block that pads the input, or None.
    """

    schedule: Any
    anchor: Any
    output: Any
    border: Any | None


def open_nest(function: Any, anchor: str, border: str | None) -> Nest:
    """Inline everything but the anchor, its border and the output.

    Args:
        function: an unscheduled ``PrimFunc``.
        anchor: name of the block that sums.
        border: name of the block that pads its input, if there is one.
    """
    from tvm.s_tir import Schedule

    schedule = Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    names = [str(schedule.get(block).name_hint) for block in blocks]
    kept = {anchor, border, names[-1]}
    for block, name in zip(blocks, names, strict=True):
        if name not in kept:
            schedule.compute_inline(block)
    summing = schedule.get_sblock(anchor)
    if names[-1] == anchor:
        output = schedule.cache_write(summing, 0, "local")
    else:
        output = blocks[-1]
        schedule.set_scope(summing, 0, "local")
    edge = schedule.get_sblock(border) if border in names else None
    return Nest(schedule, summing, output, edge)


def run_parallel(nest: Nest, loops: Sequence[Any], threads: int) -> None:
    """Spread outer loops over threads; with one thread, leave them alone.

    Without this the kernel is not wrapped for the thread pool, which costs a
    call that a single thread need not pay.
    """
    if threads > 1 and loops:
        fused = nest.schedule.fuse(*loops) if len(loops) > 1 else loops[0]
        nest.schedule.parallel(fused)


def vectorise_border(nest: Nest, lanes: int, threads: int, *, inside: Any | None) -> None:
    """Copy the padded input in vectors, at the root or inside a loop.

    Args:
        nest: the function.
        lanes: float32 values of a vector register.
        threads: as for :func:`run_parallel`.
        inside: the loop that recomputes it, None for the root.
    """
    if nest.border is None:
        return
    schedule = nest.schedule
    if inside is not None:
        schedule.compute_at(nest.border, inside, preserve_unit_loops=True)
    loops = schedule.get_loops(nest.border)
    extent = int(schedule.get(loops[-1]).extent)
    if extent <= 2 * lanes:
        schedule.vectorize(loops[-1])
    if inside is None:
        run_parallel(nest, loops[:2], threads)
