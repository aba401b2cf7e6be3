"""Removing channels: shapes, dependencies and outputs against an independent masking."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof import zoo
from lwprof.compression.graph import Channels, channels, mask_channels, remove_channels
from lwprof.compression.graph.dependencies import random_kept
from lwprof.compression.running import outputs, random_feeds, relative_error
from lwprof.errors import UsageError
from lwprof.profiler.graph import read

SMALL = (
    "mobilenet_v2", "resnet18", "squeezenet1_1", "shufflenet_v2_x1_0", "mcunet_in0", "lenet5",
)  # fmt: skip


def network(*nodes: Any, weights: dict[str, tuple[int, ...]], out: str, shape: Any = (1, 3, 8, 8),
            rank: int = 4, integers: dict[str, list[int]] | None = None) -> Any:  # fmt: skip
    """A model from nodes, with random weights."""
    random = np.random.default_rng(0)
    stored = [onnx.numpy_helper.from_array(random.normal(size=s).astype(np.float32), n)
              for n, s in weights.items()]  # fmt: skip
    stored += [onnx.numpy_helper.from_array(np.array(v, np.int64), n)
               for n, v in (integers or {}).items()]  # fmt: skip
    image = onnx.helper.make_tensor_value_info("x", 1, list(shape))
    result = onnx.helper.make_tensor_value_info(out, 1, [f"d{i}" for i in range(rank)])
    graph = onnx.helper.make_graph(list(nodes), "small", [image], [result], stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                  ir_version=8)  # fmt: skip


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), output.split(), name=output, **attributes)


def difference(found: Channels, kept: Any) -> float:
    feeds = random_feeds(found.graph, 1)
    return relative_error(outputs(mask_channels(found, kept), feeds),
                          outputs(remove_channels(found, kept), feeds))  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_pruned_networks_equal_the_masked_originals(name: str) -> None:
    options = zoo.find(name).options
    model = zoo.build(name, resolution=64) if "resolution" in options else zoo.build(name)
    model = zoo.build(name) if name == "lenet5" else model
    found = channels(model)
    assert found.units > 100
    for seed, share in enumerate((0.3, 0.8)):
        kept = random_kept(found, share, seed)
        assert difference(found, kept) < 1e-4
        pruned = read(remove_channels(found, kept))
        assert pruned.params < found.graph.params
        assert [t.shape for t in pruned.outputs] == [t.shape for t in found.graph.outputs]


RESIDUAL = network(
    node("Conv", "x a", "c1", pads=[1, 1, 1, 1]),
    node("Relu", "c1", "r1"),
    node("Conv", "r1 b", "c2", pads=[1, 1, 1, 1]),
    node("Add", "c2 c1", "s"),
    node("Conv", "s d", "c3", group=8, pads=[1, 1, 1, 1]),
    node("Concat", "c3 r1", "k", axis=1),
    node("Conv", "k e", "c4"),
    node("GlobalAveragePool", "c4", "p"),
    node("Flatten", "p", "f"),
    node("Gemm", "f g h", "y", transB=1),
    weights={"a": (8, 3, 3, 3), "b": (8, 8, 3, 3), "d": (8, 1, 3, 3), "e": (6, 16, 1, 1),
             "g": (4, 6), "h": (4,)},
    out="y", rank=2,
)  # fmt: skip


def test_channels_joined_by_a_sum_are_one_unit() -> None:
    found = channels(RESIDUAL)
    # c1, c2, their sum, the depthwise layer and both halves of the concat: 8 units; c4: 6.
    assert sorted(group.size for group in found.groups) == [6, 8]
    (joined,) = [group for group in found.groups if group.size == 8]
    assert set(joined.nodes) == {"c1", "c2"}
    assert "y" in found.refused


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mask_of_a_residual_network_is_exact(data: st.DataObject) -> None:
    found = channels(RESIDUAL)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=14, max_size=14)))
    for group in found.groups:
        kept[group.units[0]] |= not kept[list(group.units)].any()
    assert difference(found, kept) < 1e-5
    pruned = remove_channels(found, kept)
    widths = found.counts(kept)
    shapes = {t.name: tuple(t.dims) for t in pruned.graph.initializer}
    joined = next(i for i, group in enumerate(found.groups) if group.size == 8)
    assert shapes["b"][:2] == (widths[joined], widths[joined])
    assert shapes["e"] == (widths[1 - joined], 2 * widths[joined], 1, 1)


def test_grouped_convolutions_and_shuffles_lose_the_same_place_of_every_group() -> None:
    model = network(
        node("Conv", "x a", "c1"),
        node("Conv", "c1 b", "c2", group=4),
        node("Reshape", "c2 five", "v"),
        node("Transpose", "v", "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "t four", "u"),
        node("Conv", "u d", "c3", group=4),
        node("Conv", "c3 e", "y"),
        weights={"a": (8, 3, 1, 1), "b": (12, 2, 1, 1), "d": (16, 3, 1, 1), "e": (2, 16, 1, 1)},
        integers={"five": [1, 4, 3, 8, 8], "four": [1, 12, 8, 8]}, out="y",
    )  # fmt: skip
    found = channels(model)
    for seed in range(4):
        kept = random_kept(found, 0.5, seed)
        assert difference(found, kept) < 1e-5


def test_squeeze_and_excite_goes_with_what_it_scales() -> None:
    model = network(
        node("Conv", "x a", "c1"),
        node("GlobalAveragePool", "c1", "p"),
        node("Conv", "p b", "q"),
        node("Relu", "q", "qr"),
        node("Conv", "qr d", "e"),
        node("Sigmoid", "e", "g"),
        node("Mul", "c1 g", "m"),
        node("Conv", "m f", "y"),
        weights={"a": (8, 3, 1, 1), "b": (4, 8, 1, 1), "d": (8, 4, 1, 1), "f": (2, 8, 1, 1)},
        out="y",
    )
    found = channels(model)
    assert sorted(group.size for group in found.groups) == [4, 8]
    assert difference(found, random_kept(found, 0.5, 3)) < 1e-5


def test_split_and_slice_bounds_follow() -> None:
    model = network(
        node("Conv", "x a", "c1"),
        node("Split", "c1 parts", "s1 s2", axis=1),
        node("Slice", "c1 from to axes", "s3"),
        node("Conv", "s1 b", "d1"),
        node("Conv", "s2 d", "d2"),
        node("Conv", "s3 e", "d3"),
        node("Sum", "d1 d2 d3", "y"),
        weights={"a": (9, 3, 1, 1), "b": (2, 4, 1, 1), "d": (2, 5, 1, 1), "e": (2, 4, 1, 1)},
        integers={"parts": [4, 5], "from": [3], "to": [7], "axes": [1]}, out="y",
    )  # fmt: skip
    found = channels(model)
    assert found.units == 8  # channel 3 is alone of its kind, and a group keeps one
    for seed in range(4):
        assert difference(found, random_kept(found, 0.6, seed)) < 1e-5


def test_attention_loses_whole_heads() -> None:
    names = ("q", "k", "v")
    nodes = []
    for n in names:
        nodes += [node("MatMul", f"x w{n}", f"{n}1"), node("Add", f"{n}1 b{n}", f"{n}2"),
                  node("Reshape", f"{n}2 heads", f"{n}3")]  # fmt: skip
    nodes += [
        node("Transpose", "q3", "q4", perm=[0, 2, 1, 3]),
        node("Transpose", "k3", "k4", perm=[0, 2, 3, 1]),
        node("Transpose", "v3", "v4", perm=[0, 2, 1, 3]),
        node("MatMul", "q4 k4", "a"),
        node("Softmax", "a", "as", axis=-1),
        node("MatMul", "as v4", "o"),
        node("Transpose", "o", "ot", perm=[0, 2, 1, 3]),
        node("Reshape", "ot flat", "of"),
        node("MatMul", "of wo", "y"),
    ]
    weights = {f"w{n}": (6, 12) for n in names} | {f"b{n}": (12,) for n in names}
    model = network(*nodes, weights={**weights, "wo": (12, 5)}, out="y", shape=(1, 7, 6), rank=3,
                    integers={"heads": [1, 7, 3, 4], "flat": [1, 7, 12]})  # fmt: skip
    found = channels(model)
    assert [group.size for group in found.groups] == [3]
    kept = np.array([True, False, True])
    assert difference(found, kept) < 1e-5
    shapes = {t.name: tuple(t.dims) for t in remove_channels(found, kept).graph.initializer}
    assert shapes["wq"] == (6, 8) and shapes["wo"] == (8, 5)


def test_what_cannot_be_pruned_is_named() -> None:
    model = network(
        node("Conv", "x a", "c1"),
        node("LRN", "c1", "n", size=3),
        node("Conv", "n b", "y"),
        weights={"a": (8, 3, 1, 1), "b": (2, 8, 1, 1)}, out="y",
    )  # fmt: skip
    found = channels(model)
    assert found.units == 0
    assert "mixes channels" in found.refused["n"] and "output" in found.refused["y"]


def test_a_group_keeps_a_channel() -> None:
    found = channels(RESIDUAL)
    with pytest.raises(UsageError, match="keep one"):
        remove_channels(found, np.zeros(found.units, bool))
    with pytest.raises(UsageError, match="14 removable"):
        remove_channels(found, np.ones(3, bool))
