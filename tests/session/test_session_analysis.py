"""Kernel times and closure from planted truths, whatever order a process ran branches in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lwprof.profiler.kernels import Kernel, workload
from lwprof.profiler.session.analysis import aligned, match_kernels
from lwprof.profiler.session.blocks import InContext
from lwprof.profiler.session.chains import Overhead

OVERHEAD = Overhead(
    call_s=12e-6, gap_s=0.8e-6, profiler_s=5e-6, profiler_per_input_s=0.5e-6, between_s=6e-6
)
TRUE_S = {"conv_a": 120e-6, "conv_b": 250e-6, "add": 30e-6, "inserted": 15e-6}
INPUTS = {"conv_a": 3, "conv_b": 3, "add": 2, "inserted": 1}


def view(
    rng: np.random.Generator, order: list[str], number: int, between_s: float = 6e-6
) -> InContext:
    """A block whose truth is known; the inserted node has a number of its own."""
    runs = 40
    inputs = np.array([INPUTS[name] for name in order])
    bias = OVERHEAD.profiler_bias_s(inputs, between_s)
    noise = np.exp(0.002 * rng.standard_normal((runs, len(order))))
    reported = np.array([TRUE_S[name] for name in order]) * noise + bias
    total = sum(TRUE_S.values()) + OVERHEAD.gap_total_s(len(order))
    return InContext(
        plain_s=total * np.exp(0.002 * rng.standard_normal(runs)),
        nodes=tuple(f"token_{number}" if name == "inserted" else name for name in order),
        ops=tuple("Reorder" if name == "inserted" else name.split("_")[0] for name in order),
        providers=("CPU",) * len(order),
        reported_s=reported,
        inputs=inputs,
        between_s=between_s,
        overhead=OVERHEAD,
    )


@pytest.mark.parametrize("between_s", [6e-6, 15e-6])
def test_planted_kernel_times_are_recovered(between_s: float) -> None:
    one = view(np.random.default_rng(0), list(TRUE_S), 7, between_s)
    assert one.kernels_s == pytest.approx(list(TRUE_S.values()), rel=2e-3)
    total = one.kernels_s.sum() + OVERHEAD.gap_total_s(len(TRUE_S))
    assert total == pytest.approx(one.end_to_end_s, rel=2e-3), "the closure of a planted truth"


def test_the_bias_grows_where_the_profiler_runs_slower() -> None:
    inputs = np.array([1, 3])
    calm, slow = (OVERHEAD.profiler_bias_s(inputs, b) for b in (6e-6, 24e-6))
    assert calm == pytest.approx([5e-6, 6e-6])
    assert slow == pytest.approx(2 * calm), "half of a factor of four, in the logarithm"
    assert OVERHEAD.profiler_bias_s(inputs, 1e-6) == pytest.approx(calm), "never below the chain's"


def test_one_preempted_run_does_not_move_the_kernels() -> None:
    calm = view(np.random.default_rng(1), list(TRUE_S), 1)
    before = calm.kernels_s
    calm.reported_s[3] += 0.02
    assert calm.kernels_s == pytest.approx(before, rel=2e-3)


def test_branches_in_another_order_are_put_back() -> None:
    rng = np.random.default_rng(2)
    first = view(rng, ["conv_a", "conv_b", "inserted", "add"], 3)
    other = view(rng, ["inserted", "conv_b", "conv_a", "add"], 81)
    same, orders = aligned([first, other], {"conv_a", "conv_b", "add"})
    assert same == [first, other]
    for block, order in zip(same, orders, strict=True):
        expected = [TRUE_S[name] for name in ("conv_a", "conv_b", "inserted", "add")]
        assert block.kernels_s[order] == pytest.approx(expected, rel=2e-3)


def test_a_process_that_ran_other_kernels_is_left_out() -> None:
    rng = np.random.default_rng(3)
    first = view(rng, ["conv_a", "conv_b", "add"], 1)
    other = view(rng, ["conv_a", "conv_b", "inserted", "add"], 2)
    same, _ = aligned([first, other], {"conv_a", "conv_b", "add"})
    assert same == [first]


def reorder(name: str, shape: tuple[int, ...]) -> Kernel:
    work = workload(["Relu"], inputs=[shape])
    return Kernel(work, ("ReorderOutput",), (), name, "ReorderOutput", "layout")


def test_inserted_kernels_are_told_apart_by_what_they_make() -> None:
    """ONNX Runtime draws the numbers of its reorders anew in each process: names collide."""
    first = view(np.random.default_rng(4), ["inserted", "conv_a"], 1)
    wide, narrow = (1, 32, 112, 112), (1, 8, 1, 1)
    kernels = [reorder("token_1", wide), reorder("token_2", narrow)]
    for names, shapes in (
        (("token_1", "token_2"), (narrow, wide)),
        (("token_2", "token_1"), (wide, narrow)),
    ):
        ran = replace(first, nodes=names, ops=("ReorderOutput",) * 2, shapes=shapes)
        found = match_kernels(kernels, ran)
        made = [tuple(k.workload.description["outputs"][0]["shape"]) for k in found if k]
        assert made == list(shapes)
    ran = replace(first, nodes=("a", "b"), ops=("ReorderOutput",) * 2)
    assert match_kernels(kernels, ran) == kernels, "without shapes by order, as best it can"


def test_inserted_kernels_in_another_order_are_put_back() -> None:
    first = view(np.random.default_rng(5), ["inserted", "inserted", "add"], 1)
    shapes = ((1, 8, 1, 1), (1, 32, 112, 112), (1, 8, 1, 1))
    first = replace(first, shapes=shapes)
    other = replace(first, shapes=(shapes[1], shapes[0], shapes[2]))
    _, orders = aligned([first, other], {"add"})
    assert [list(order) for order in orders] == [[0, 1, 2], [1, 0, 2]]
