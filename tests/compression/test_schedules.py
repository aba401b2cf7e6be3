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
from lwprof.compression.structure import schedules
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
    for stage in schedules.stages(Rewriting(read(model))):
        rewriting = Rewriting(read(model))
        schedules.patch(rewriting, stage, patches)
        changed = rewriting.finish()
        assert output_error(model, changed) < 1e-5
        assert read(changed).macs >= read(model).macs


@pytest.mark.parametrize("name", ["mobilenet_v2"])
def test_patches_lower_the_peak_of_a_network_and_say_what_the_overlap_costs(name: str) -> None:
    model = zoo.build(name, resolution=96)
    done = schedules.PATCHES[0].apply(model)
    assert done.applied, done.reason
    before, after = read(model), read(done.model)
    assert after.peak_memory_bytes < before.peak_memory_bytes
    assert output_error(model, done.model) < 1e-5
    assert str(after.macs - before.macs) in done.notes[0]
