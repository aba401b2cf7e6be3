"""Schedules: peaks against brute force over lifetimes, patches against the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compression_models import Small
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof import zoo
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.running import output_error
from lwprof.compression.structure import patching, schedules
from lwprof.profiler.graph import read


def _brute_force(graph: Any, in_place: set[str]) -> int:
    """Peak bytes by listing, for every node, what lives; ``in_place`` nodes take a channel."""
    nodes = graph.operators
    sizes = {t.name: 4 * (t.elements or 0) for t in graph.tensors.values() if not t.constant}
    born = {t.name: -1 for t in graph.inputs}
    born |= {name: op.index for op in nodes for name in op.outputs}
    dies = {name: max([op.index for op in nodes if name in op.inputs], default=-1) for name in born}
    dies |= {t.name: len(nodes) for t in graph.outputs}
    peak = 0
    for op in nodes:
        live = sum(sizes[n] for n in born if born[n] <= op.index <= dies[n] and n in sizes)
        if op.type == "Relu" or op.name in in_place:
            source = op.inputs[0]
            if dies[source] == op.index:
                live -= sizes[source]
                if op.name in in_place:
                    live += sizes[source] // graph.tensors[source].shape[1]
        peak = max(peak, live)
    return peak


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(["dw", "pw", "relu", "wide"]), min_size=1, max_size=6),
       st.integers(0, 5))  # fmt: skip
def test_in_place_peak_equals_brute_force(kinds: list[str], seed: int) -> None:
    net = Small((1, 4, 8, 8), seed)
    value, channels = net.conv("x", 6, 4, 1), 6
    for kind in kinds:
        if kind == "dw":
            value = net.conv(value, channels, channels, 3, group=channels)
        elif kind == "relu":
            value = net.op("Relu", value)
        else:
            out = channels * 2 if kind == "wide" else 5
            value, channels = net.conv(value, out, channels, 1), out
    graph = read(net.model(value))
    peak, chosen = schedules.in_place_peak(graph)
    assert len(chosen) == kinds.count("dw")
    assert peak == _brute_force(graph, set(chosen))


def test_a_depthwise_layer_needs_n_plus_1_channels() -> None:
    net = Small((1, 2, 8, 8))
    wide = net.conv("x", 16, 2, 1)
    last = net.conv(net.conv(wide, 16, 16, 3, group=16), 2, 16, 1)
    peak, _ = schedules.in_place_peak(read(net.model(last)))
    assert peak == 4 * 64 * max(2 + 16, 16 + 1, 16 + 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 4), st.sampled_from([1, 2]), st.sampled_from([3, 5]), st.integers(9, 17),
       st.integers(0, 3))  # fmt: skip
def test_patches_give_equal_outputs(
    patches: int, stride: int, kernel: int, size: int, seed: int
) -> None:
    net = Small((1, 3, size, size + 1), seed)
    value = net.op("Relu", net.conv("x", 6, 3, kernel, strides=[stride, stride]))
    value = net.op("Clip", net.conv(value, 6, 6, 3, group=6), net.keep(np.float32(-0.5)))
    value = net.conv(value, 4, 6, 3, strides=[2, 1])
    model = net.model(value)
    for stage in patching.stages(Rewriting(read(model))):
        rewriting = Rewriting(read(model))
        patching.patch(rewriting, stage, patches)
        changed = rewriting.finish()
        assert output_error(model, changed) < 1e-5
        assert read(changed).macs >= read(model).macs


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 3), st.sampled_from([1, 2]), st.integers(9, 15), st.booleans(),
       st.integers(0, 3))  # fmt: skip
def test_patches_pass_shortcuts_branches_and_pooling(
    patches: int, stride: int, size: int, joined: bool, seed: int
) -> None:
    net = Small((1, 3, size, size + 1), seed)
    first = net.op("Relu", net.conv("x", 4, 3, 3, strides=[stride, stride]))
    first = net.op("MaxPool", first, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    left = net.conv(net.op("Relu", net.conv(first, 6, 4, 3)), 4, 6, 3)
    value = net.op("Add", left, first)  # a shortcut: one reader needs more rows than the other
    if joined:
        value = net.op("Concat", value, net.conv(first, 4, 4, 1), axis=1)
    channels = 8 if joined else 4
    model = net.model(net.conv(net.op("Relu", value), 5, channels, 3, strides=[2, 2]))
    found = patching.stages(Rewriting(read(model)))
    assert len(found) == 6
    for stage in found:
        rewriting = Rewriting(read(model))
        patching.patch(rewriting, stage, patches)
        assert output_error(model, rewriting.finish()) < 1e-5


def test_a_value_that_others_read_ends_no_stage() -> None:
    net = Small((1, 3, 8, 8))
    first = net.conv("x", 4, 3, 3)
    second = net.conv(first, 4, 4, 3)
    mean = net.op("GlobalAveragePool", first)  # looks at everything
    model = net.model(net.op("Mul", second, mean))
    assert [stage.result for stage in patching.stages(Rewriting(read(model)))] == [first]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "mcunet_in0"])
def test_patches_lower_the_peak_of_a_network_and_say_what_the_overlap_costs(name: str) -> None:
    model = zoo.build(name, resolution=96)
    done = schedules.PATCHES[0].apply(model)
    assert done.applied, done.reason
    before, after = read(model), read(done.model)
    assert after.peak_memory_bytes < before.peak_memory_bytes
    assert output_error(model, done.model) < 1e-5
    assert str(after.macs - before.macs) in done.notes[0]
