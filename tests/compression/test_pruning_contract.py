"""Saliencies against planted truths; selectors against limits and brute force; repair."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

from lwprof.compression.graph import channels, remove_channels
from lwprof.compression.pruning import saliency as saliencies
from lwprof.compression.pruning.agent import clipped
from lwprof.compression.pruning.knapsack import solve
from lwprof.compression.pruning.least_squares import repair, unfold
from lwprof.compression.pruning.netadapt import DECAY, FIRST
from lwprof.compression.pruning.problem import Infeasible, Problem
from lwprof.compression.pruning.scene import Scene, scene
from lwprof.compression.pruning.selectors import SELECTORS
from lwprof.compression.running import outputs, relative_error
from lwprof.errors import UsageError


def make(seed: int = 0, dead: tuple[int, ...] = ()) -> Any:
    """conv 3→6, relu, conv 6→8, relu, pool, dense 8→4; ``dead`` filters of the first are nought."""
    random = np.random.default_rng(seed)
    shapes = {"a": (6, 3, 3, 3), "ab": (6,), "b": (8, 6, 3, 3), "bb": (8,), "g": (4, 8),
              "h": (4,)}  # fmt: skip
    arrays = {n: (random.normal(size=s) / np.sqrt(np.prod(s[1:]) or 1)).astype(np.float32)
              for n, s in shapes.items()}  # fmt: skip
    for filter_ in dead:
        arrays["a"][filter_] = 0
        arrays["ab"][filter_] = 0
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "a", "ab"], ["c1"], "c1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "r1"),
        node("Conv", ["r1", "b", "bb"], ["c2"], "c2", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c2"], ["r2"], "r2"),
        node("GlobalAveragePool", ["r2"], ["p"], "p"),
        node("Flatten", ["p"], ["f"], "f"),
        node("Gemm", ["f", "g", "h"], ["y"], "y", transB=1),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "tiny", [value("x", 1, [16, 3, 8, 8])],
                                   [value("y", 1, [16, 4])],
                                   [onnx.numpy_helper.from_array(v, n) for n, v in arrays.items()])  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                  ir_version=8)  # fmt: skip


def data(seed: int = 1) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(16, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


def seen(dead: tuple[int, ...] = (), labelled: bool = True) -> Scene:
    model, feeds = make(dead=dead), data()
    labels = [batch[0].argmax(1) for batch in outputs(model, feeds)] if labelled else None
    return scene(model, feeds, labels)


@pytest.mark.parametrize("name", [n for n in saliencies.SALIENCIES if n != "random"])
def test_dead_filters_matter_least(name: str) -> None:
    found = seen(dead=(1, 4))
    scores = saliencies.saliency(name)(found)
    first = next(g for g in found.found.groups if g.name == "c1")
    ranked = np.argsort(scores[list(first.units)], kind="stable")
    if name == "structured-sparsity":  # the channels that read a dead filter still have weights
        assert scores[first.units[1]] < np.median(scores[list(first.units)])
    else:
        assert set(ranked[:2]) == {1, 4}


def test_obd_equals_the_closed_form_of_a_linear_network() -> None:
    # y = W g x: ½ ∂²/∂g² of mean (y − y₀)² / (2 mean y₀²) is mean (w_k x_k)² / (2 mean y₀²).
    random = np.random.default_rng(0)
    a, b = (random.normal(size=s).astype(np.float32) for s in ((5, 4), (3, 5)))
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Gemm", ["x", "a"], ["h"], "h", transB=1),
         node("Gemm", ["h", "b"], ["y"], "y", transB=1)],
        "linear", [value("x", 1, [64, 4])], [value("y", 1, [64, 3])],
        [onnx.numpy_helper.from_array(a, "a"), onnx.numpy_helper.from_array(b, "b")])  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                   ir_version=8)  # fmt: skip
    x = random.normal(size=(64, 4)).astype(np.float32)
    found = scene(model, [{"x": x}])
    hidden = x @ a.T
    parts = (hidden[:, :, None] * b.T[None]) ** 2
    expected = parts.mean((0, 2)) / (2 * np.square(hidden @ b.T).mean())
    assert saliencies.obd(found) == pytest.approx(expected, rel=2e-2)


def test_taylor_needs_labels() -> None:
    with pytest.raises(UsageError, match="labels"):
        saliencies.taylor(seen(labelled=False))


def macs(found: Any) -> Any:
    """A price that is not additive over groups: products of widths."""
    order = [g.name for g in found.groups]

    def price(widths: Any) -> float:
        first, second = widths[order.index("c1")], widths[order.index("c2")]
        return float(27 * 64 * first + 9 * 16 * first * second + 4 * second)

    return price


@pytest.mark.parametrize("name", list(SELECTORS))
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_selectors_keep_the_limit_and_use_it(name: str, share: float) -> None:
    found = seen()
    price = macs(found.found)
    full = price(found.found.widths)
    problem = Problem(found.found, saliencies.l2(found), price, share * full, found.error)
    kept = SELECTORS[name](problem)
    cost = price(found.found.counts(found.found.check(kept)))
    assert cost <= share * full
    if share == 1.0:
        assert kept.all()
    elif name not in ("uniform", "global"):
        for unit in np.flatnonzero(~kept):  # nothing more fits
            more = kept.copy()
            more[unit] = True
            assert price(found.found.counts(more)) > share * full


@pytest.mark.parametrize("name", list(SELECTORS))
def test_infeasible_limits_answer_with_the_reachable_minimum(name: str) -> None:
    found = seen()
    price = macs(found.found)
    problem = Problem(found.found, saliencies.l2(found), price, 1.0)
    with pytest.raises(Infeasible) as caught:
        SELECTORS[name](problem)
    assert caught.value.minimum == price(np.ones(len(found.found.groups)))


def test_the_knapsack_equals_brute_force() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        values = [random.random(4).tolist() for _ in range(4)]
        costs = [(random.integers(0, 50, 4) * 10).tolist() for _ in range(4)]
        chosen = solve(values, costs, 1000.0)
        choices = list(itertools.product(range(4), repeat=4))
        fits = [c for c in choices if sum(costs[i][c[i]] for i in range(4)) <= 1000]
        best = max(sum(values[i][c[i]] for i in range(4)) for c in fits)
        assert sum(values[i][chosen[i]] for i in range(4)) == pytest.approx(best)


def test_netadapt_commits_the_best_ratio_first() -> None:
    found = seen()
    price = macs(found.found)
    full, widths = price(found.found.widths), found.found.widths
    limit = full * (1 - FIRST)
    problem = Problem(found.found, saliencies.l2(found), price, limit, found.error)
    kept = SELECTORS["netadapt"](problem)
    # Each group, cut by as little as the first reduction needs, is one proposal.
    marks = {}
    for group in range(2):
        for width in range(int(widths[group]) - 1, 0, -1):
            fewer = widths.copy()
            fewer[group] = width
            if price(fewer) <= limit:
                break
        mask = problem.best(fewer)
        worse = found.error(mask) - found.error(np.ones(found.found.units))
        marks[tuple(mask)] = (worse + 1e-6) / ((full - price(fewer)) / full + 1e-5)
    assert tuple(kept) == min(marks, key=lambda mask: marks[mask])
    assert DECAY < 1


def test_clipped_actions_leave_the_limit_reachable() -> None:
    found = seen()
    price = macs(found.found)
    for limit in (0.05, 0.2, 0.5):
        full = price(found.found.widths)
        problem = Problem(found.found, np.ones(found.found.units), price, limit * full)
        if price(problem.least) > problem.limit:
            continue
        widths = found.found.widths.copy()
        for group in range(len(widths)):
            widths[group] = clipped(problem, widths, group, int(widths[group]))
        assert price(widths) <= problem.limit


def test_unfolded_convolutions_are_matrix_products() -> None:
    from lwprof.compression.layers import conv_layers
    from lwprof.compression.pruning.least_squares import fold_out
    from lwprof.compression.rewriting import Rewriting
    from lwprof.profiler.graph import read

    found = seen()
    layer = conv_layers(Rewriting(read(make())))[1]
    values = found.observe([layer.source, layer.result])
    product = unfold(values[layer.source], layer) @ layer.weight.reshape(8, -1).T + layer.bias
    assert product == pytest.approx(fold_out(values[layer.result], layer), abs=1e-5)


def test_least_squares_brings_the_answers_nearer() -> None:
    found = seen()
    kept = np.ones(found.found.units, bool)
    kept[[0, 3]] = False
    pruned = remove_channels(found.found, kept)
    fresh = data(9)
    reference = outputs(make(), fresh)
    before = relative_error(reference, outputs(pruned, fresh))
    after = relative_error(reference, outputs(repair(found, pruned, kept), fresh))
    assert after < 0.7 * before


def test_a_redundant_channel_is_made_up_for_exactly() -> None:
    model = make()
    stored = {t.name: t for t in model.graph.initializer}
    for name in ("a", "ab"):  # filter 5 repeats filter 2
        array = onnx.numpy_helper.to_array(stored[name]).copy()
        array[5] = array[2]
        stored[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    found = scene(model, data())
    kept = np.ones(found.found.units, bool)
    group = next(g for g in found.found.groups if g.name == "c1")
    kept[group.units[5]] = False
    repaired = repair(found, remove_channels(channels(model), kept), kept)
    assert relative_error(outputs(model, data(7)), outputs(repaired, data(7))) < 2e-3
