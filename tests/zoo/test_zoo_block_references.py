"""Every block type of the zoo against a float64 reference written from its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from float64_layers import ACTIVATIONS, Layers, attention, convolve, pool, shuffle

from lwprof import zoo
from lwprof.zoo import blocks
from lwprof.zoo.families import (
    addernet,
    chains,
    darts,
    dual_pooling,
    fbnet,
    gcn,
    ghostnet,
    inception,
    nasbench201,
    nasnet,
    repvgg,
    resnet,
    shufflenet,
    transformers,
)

RELU = ACTIVATIONS["relu"]


def outputs(model: Any, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"input": x})[0]


def check(
    shape: tuple[int, ...],
    block: Callable[[Any, Any], Any],
    reference: Callable[[Layers, Any], Any],
    seed: int = 3,
) -> None:
    """``block`` in ONNX Runtime equals ``reference`` to 1e-4 of the largest result."""
    model = zoo.draw(lambda net: block(net, net.input(shape)), seed=seed)
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    layers = Layers(model)
    expected = reference(layers, x.astype(np.float64))
    assert layers.done(), "the reference left weights unused"
    actual = outputs(model, x)
    assert actual.shape == expected.shape
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


MAP = (2, 12, 10, 8)


@pytest.mark.parametrize("act", [a for a in ACTIVATIONS if a])
def test_activation(act: str) -> None:
    check((2, 3, 4, 5), lambda net, x: net.act(x, act), lambda r, x: ACTIVATIONS[act](x))


def test_prelu() -> None:
    check(MAP, lambda net, x: net.act(x, "prelu"),
          lambda r, x: np.where(x > 0, x, r.take() * x))  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3, 12])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv_bn_act(stride: int, groups: int, dilation: int) -> None:
    check(MAP, lambda net, x: blocks.conv_bn(net, x, 24, 3, stride, "relu6", groups=groups,
                                             dilation=dilation),
          lambda r, x: r.conv_bn(x, stride, "relu6", groups=groups, dilation=dilation))  # fmt: skip


def test_oblong_convolution_with_bias() -> None:
    check(MAP, lambda net, x: net.conv(x, 5, (1, 7), bias=True), lambda r, x: r.conv(x, bias=True))


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("setting", [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 0, True),
                                     (3, 1, 1, False), (2, 2, 0, True)])  # fmt: skip
def test_pooling(kind: str, setting: tuple[int, int, int, bool]) -> None:
    check((1, 3, 9, 12), lambda net, x: net.pool(x, kind, *setting),
          lambda r, x: pool(x, kind, *setting))  # fmt: skip


def test_adaptive_pooling_down_and_up() -> None:
    check((1, 2, 12, 12), lambda net, x: net.adaptive_pool(x, 6), lambda r, x: pool(x, "avg", 2, 2))
    check((1, 2, 3, 3), lambda net, x: net.adaptive_pool(x, 6),
          lambda r, x: x.repeat(2, axis=2).repeat(2, axis=3))  # fmt: skip


def test_local_response_normalisation() -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = np.empty_like(x)
        for c in range(x.shape[1]):
            near = x[:, max(0, c - 2) : c + 3]
            y[:, c] = x[:, c] / (2 + 1e-4 / 5 * (near**2).sum(1)) ** 0.75
        return y

    check(MAP, chains.local_norm, reference)


def squeeze_excite(r: Layers, x: Any, act: str, gate: str) -> Any:
    y = ACTIVATIONS[act](r.conv(x.mean((2, 3), keepdims=True), bias=True))
    return x * ACTIVATIONS[gate](r.conv(y, bias=True))


def test_squeeze_excite() -> None:
    check(MAP, lambda net, x: blocks.squeeze_excite(net, x, 4, "swish", "hard_sigmoid"),
          lambda r, x: squeeze_excite(r, x, "swish", "hard_sigmoid"))  # fmt: skip


@pytest.mark.parametrize(("out", "stride"), [(12, 1), (12, 2), (20, 1)])
def test_inverted_residual(out: int, stride: int) -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv_bn(x, 1, "hard_swish")
        y = r.conv_bn(y, stride, "hard_swish", groups=36)
        y = r.conv_bn(squeeze_excite(r, y, "relu", "sigmoid"), 1, None)
        return x + y if (out, stride) == (12, 1) else y

    check(MAP, lambda net, x: blocks.inverted_residual(net, x, out, 36, 5, stride, "hard_swish",
                                                       squeeze=8), reference)  # fmt: skip


def test_channel_shuffle() -> None:
    check(MAP, lambda net, x: blocks.channel_shuffle(net, x, 3), lambda r, x: shuffle(x, 3))


def test_ghost_module_drops_the_odd_channel() -> None:
    def reference(r: Layers, x: Any) -> Any:
        primary = r.conv_bn(x)
        return np.concatenate([primary, r.conv_bn(primary, groups=4)], axis=1)[:, :7]

    check(MAP, lambda net, x: ghostnet.ghost(net, x, 7), reference)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_residual_block(bottleneck: bool) -> None:
    def reference(r: Layers, x: Any) -> Any:
        if bottleneck:
            y = r.conv_bn(r.conv_bn(r.conv_bn(x), 2), 1, None)
        else:
            y = r.conv_bn(r.conv_bn(x, 2), 1, None)
        return RELU(y + r.conv_bn(x, 2, None))

    check(MAP, lambda net, x: resnet.block(net, x, 8, 2, bottleneck), reference)


def test_inception_branches_with_fork_and_pools() -> None:
    def reference(r: Layers, x: Any) -> Any:
        first = r.conv_bn(x, 2, pad=0)
        y = r.conv_bn(x)
        fork = [r.conv_bn(y), r.conv_bn(y)]
        rows = [r.conv_bn(r.conv_bn(pool(x, "avg", 3, 1, 1))), pool(x, "max", 3, 1, 1), *fork]
        return first, rows

    def block(net: Any, x: Any) -> Any:
        net.eps = 1e-5
        first = inception.branches(net, x, [(6, 3, 2)])
        fork = [(4, (1, 3)), (4, (3, 1))]
        stem = inception.branches(net, x, [(5, 1), fork])
        rest = inception.branches(net, x, ["avg", (3, 1), (4, (7, 1))], ["max1"])
        return net.concat([net.flatten(first), net.flatten(rest), net.flatten(stem)])

    def flat(r: Layers, x: Any) -> Any:
        first, (averaged, highest, *fork) = reference(r, x)
        parts = [first, np.concatenate([averaged, highest], 1), np.concatenate(fork, 1)]
        return np.concatenate([p.reshape(len(p), -1) for p in parts], 1)

    check(MAP, block, flat)


def test_dense_layers_read_all_before_them() -> None:
    def reference(r: Layers, x: Any) -> Any:
        x = pool(r.conv_bn(x, 2, pad=3), "max", 3, 2, 1)
        for stage, depth in enumerate((2, 1)):
            if stage:
                x = pool(r.conv(RELU(r.bn(x))), "avg", 2, 2)
            for _ in range(depth):
                y = r.conv(RELU(r.bn(x)))
                x = np.concatenate([x, r.conv(RELU(r.bn(y)))], 1)
        return r.linear(RELU(r.bn(x)).mean((2, 3)))

    from lwprof.zoo.families.densenet import densenet

    model = zoo.draw(densenet, depths=(2, 1), growth=4, resolution=32, classes=5, seed=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    expected = reference(Layers(model), x.astype(np.float64))
    np.testing.assert_allclose(outputs(model, x), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_shufflenet_units(stride: int) -> None:
    def v2(r: Layers, x: Any) -> Any:
        if stride == 1:
            passed, x = x[:, :6], x[:, 6:]
        else:
            passed = r.conv_bn(r.conv_bn(x, 2, None, groups=12))
        y = r.conv_bn(r.conv_bn(r.conv_bn(x), stride, None, groups=6))
        return shuffle(np.concatenate([passed, y], 1), 2)

    def v1(r: Layers, x: Any) -> Any:
        y = shuffle(r.conv_bn(x, groups=3), 3)
        y = r.conv_bn(r.conv_bn(y, stride, None, groups=y.shape[1]), 1, None, groups=3)
        return RELU(x + y if stride == 1 else np.concatenate([pool(x, "avg", 3, 2, 1), y], 1))

    out = 12 if stride == 1 else 24
    check(MAP, lambda net, x: shufflenet.split_unit(net, x, 6, stride), v2)
    check(MAP, lambda net, x: shufflenet.grouped_unit(net, x, out, stride, 3, 3), v1)


def test_fbnet_layer_with_two_groups() -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = shuffle(RELU(r.bn(r.conv(x, groups=2, bias=True))), 2)
        y = RELU(r.bn(r.conv(y, groups=36, bias=True)))
        return x + r.bn(r.conv(y, groups=2, bias=True))

    check(MAP, lambda net, x: fbnet._layer(net, x, 12, 1, "k5_e3_g2"), reference)


def separable(r: Layers, x: Any, stride: int = 1, dilation: int = 1) -> Any:
    """ReLU, depthwise, pointwise, batch norm."""
    return r.bn(r.conv(r.conv(RELU(x), stride, groups=x.shape[1], dilation=dilation)))


def halves(r: Layers, x: Any) -> Any:
    """Factorised reduction of an even-sized map, before batch norm."""
    return np.concatenate([r.conv(x[:, :, ::2, ::2]), r.conv(x[:, :, 1::2, 1::2])], 1)


def test_nasnet_normal_cell_behind_a_reduction() -> None:
    def block(net: Any, x: Any) -> Any:
        small = net.pool(x, "avg", 2, 2)
        return nasnet._cell(net, small, x, 8, False, "cell")

    def reference(r: Layers, x: Any) -> Any:
        h = r.bn(r.conv(RELU(pool(x, "avg", 2, 2))))
        p = r.bn(halves(r, RELU(x)))
        five = separable(r, separable(r, h)) + separable(r, separable(r, p))
        both = separable(r, separable(r, p)) + separable(r, separable(r, p))
        mean_h, mean_p = pool(h, "avg", 3, 1, 1), pool(p, "avg", 3, 1, 1)
        last = separable(r, separable(r, h)) + h
        return np.concatenate([p, five, both, mean_h + p, 2 * mean_p, last], 1)

    check((2, 12, 12, 8), block, reference)


def test_nasnet_reduction_cell() -> None:
    def reference(r: Layers, x: Any) -> Any:
        h, p = r.bn(r.conv(RELU(x))), r.bn(r.conv(RELU(x)))
        node0 = separable(r, separable(r, h, 2)) + separable(r, separable(r, p, 2))
        node1 = pool(h, "max", 3, 2, 1) + separable(r, separable(r, p, 2))
        node2 = pool(h, "avg", 3, 2, 1) + separable(r, separable(r, p, 2))
        node3 = pool(node0, "avg", 3, 1, 1) + node1
        node4 = separable(r, separable(r, node0)) + pool(h, "max", 3, 2, 1)
        return np.concatenate([node1, node2, node3, node4], 1)

    check((2, 12, 9, 8), lambda net, x: nasnet._cell(net, x, x, 8, True, "cell"), reference)


def test_darts_cells_of_every_operation() -> None:
    genotype = (("sep_conv_5x5", 0), ("dil_conv_3x3", 1), ("skip_connect", 0), ("none", 1),
                ("max_pool_3x3", 1), ("avg_pool_3x3", 2))  # fmt: skip

    def reduction(r: Layers, x: Any) -> Any:
        p, h = r.bn(r.conv(RELU(x))), r.bn(r.conv(RELU(x)))
        node0 = separable(r, separable(r, p, 2)) + separable(r, h, 2, 2)
        node1 = r.bn(halves(r, RELU(p)))
        node2 = pool(h, "max", 3, 2, 1) + pool(node0, "avg", 3, 1, 1)
        return np.concatenate([node0, node1, node2], 1)

    def normal(r: Layers, x: Any) -> Any:
        p, h = r.bn(r.conv(RELU(x))), r.bn(r.conv(RELU(x)))
        node0 = separable(r, separable(r, p)) + separable(r, h, 1, 2)
        node2 = pool(h, "max", 3, 1, 1) + pool(node0, "avg", 3, 1, 1)
        return np.concatenate([node0, p, node2], 1)

    check(MAP, lambda net, x: darts._cell(net, x, x, genotype, 8, True), reduction)
    check(MAP, lambda net, x: darts._cell(net, x, x, genotype, 8, False), normal)


def test_nasbench201_cell_of_every_operation() -> None:
    kinds = nasbench201.parse("321404")  # 0>1 3×3, 0>2 1×1, 1>2 skip, 0>3 pool, 1>3 none, 2>3 pool

    def reference(r: Layers, x: Any) -> Any:
        one = r.bn(r.conv(RELU(x)))
        two = r.bn(r.conv(RELU(x))) + one
        return pool(x, "avg", 3, 1, 1) + pool(two, "avg", 3, 1, 1)

    check(MAP, lambda net, x: nasbench201._cell(net, x, kinds), reference)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_adder_convolution_is_minus_the_l1_distance(kernel: int, stride: int) -> None:
    def reference(r: Layers, x: Any) -> Any:
        weight, pad = r.take()[:, :, 0], kernel // 2
        n, _, height, width = x.shape
        x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
        rows, columns = range(0, height, stride), range(0, width, stride)
        y = np.empty((n, len(weight), len(rows), len(columns)))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                patch = x[:, :, row : row + kernel, column : column + kernel]
                flat = patch.transpose(0, 2, 3, 1).reshape(n, 1, -1)
                y[:, :, i, j] = -np.abs(flat - weight).sum(-1)
        return y

    check((2, 4, 7, 6), lambda net, x: addernet.adder_conv(net, x, 5, kernel, stride), reference)


def test_power_activation() -> None:
    check(MAP, addernet.power_activation, lambda r, x: np.sign(x) * np.abs(x) ** r.take())


def test_dual_pooling_attention() -> None:
    def reference(r: Layers, x: Any) -> Any:
        down, up = r.take()[:, :, 0, 0], r.take()[:, :, 0, 0]
        total = sum(RELU(y @ down.T) @ up.T for y in (x.mean((2, 3)), x.max((2, 3))))
        return x * ACTIVATIONS["sigmoid"](total)[:, :, None, None]

    check(MAP, lambda net, x: dual_pooling.dual_pooling(net, x, 4), reference)


def test_large_kernel_and_upsampling() -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv(r.conv(x, bias=True), bias=True) + r.conv(r.conv(x, bias=True), bias=True)
        weight = r.take()
        n, _, height, width = y.shape
        spread = np.zeros((n, weight.shape[1], 2 * height + 2, 2 * width + 2))
        for i in range(height):
            for j in range(width):
                stamp = np.einsum("nc,cokl->nokl", y[:, :, i, j], weight)
                spread[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += stamp
        return spread[:, :, 1:-1, 1:-1]

    check(MAP, lambda net, x: gcn._double(net, gcn.large_kernel(net, x, 3, 7)), reference)


@pytest.mark.parametrize(("out", "stride"), [(12, 1), (12, 2), (16, 1)])
def test_repvgg_block_trained_and_deployed(out: int, stride: int) -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv_bn(x, stride, None) + r.conv_bn(x, stride, None)
        return RELU(y + r.bn(x) if (out, stride) == (12, 1) else y)

    check(MAP, lambda net, x: repvgg.block(net, x, out, stride, False), reference)
    check(MAP, lambda net, x: repvgg.block(net, x, out, stride, True),
          lambda r, x: RELU(r.conv(x, stride, bias=True)))  # fmt: skip


@pytest.mark.parametrize("act", ["relu", None])
def test_repghost_module_adds_before_its_activation(act: str | None) -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv_bn(x, 1, act)
        return ACTIVATIONS[act](r.conv_bn(y, 1, None, groups=8) + r.bn(y))

    check(MAP, lambda net, x: ghostnet.repghost(net, x, 8, act, False), reference)


def feed_forward(r: Layers, x: Any, act: str) -> Any:
    return r.linear(ACTIVATIONS[act](r.linear(x)))


def pre_norm(r: Layers, x: Any, heads: int, act: str, eps: float) -> Any:
    x = x + attention(r, r.layer_norm(x, eps), heads)
    return x + feed_forward(r, r.layer_norm(x, eps), act)


def test_transformer_layers() -> None:
    def post_norm(r: Layers, x: Any) -> Any:
        y = x + attention(r, x, 3)
        y = r.layer_norm(y, 1e-5)
        return r.layer_norm(y + feed_forward(r, y, "relu"), 1e-5)

    check((2, 7, 12), lambda net, x: transformers.post_norm_layer(net, x, 3, 20), post_norm)
    check((2, 7, 12), lambda net, x: transformers.pre_norm_layer(net, x, 3, 20),
          lambda r, x: pre_norm(r, x, 3, "gelu", 1e-6))  # fmt: skip


def test_convnext_block() -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv(x, groups=12, bias=True).transpose(0, 2, 3, 1)
        y = feed_forward(r, r.layer_norm(y, 1e-6), "gelu")
        return x + r.take() * y.transpose(0, 3, 1, 2)

    check(MAP, transformers.convnext_block, reference)


def test_mobilevit_block_attends_over_equal_places_of_patches() -> None:
    def reference(r: Layers, x: Any) -> Any:
        y = r.conv(r.conv_bn(x, 1, "swish"))
        for _ in range(2):
            weights = r._next
            for i in (0, 1):
                for j in (0, 1):
                    r._next = weights
                    place = y[:, :, i::2, j::2]
                    n, c = place.shape[:2]
                    seen = place.reshape(n, c, -1).transpose(0, 2, 1)
                    seen = pre_norm(r, seen, 4, "swish", 1e-5)
                    y[:, :, i::2, j::2] = seen.transpose(0, 2, 1).reshape(place.shape)
        y = r.layer_norm(y.transpose(0, 2, 3, 1), 1e-5).transpose(0, 3, 1, 2)
        y = r.conv_bn(y, 1, "swish")
        return r.conv_bn(np.concatenate([x, y], 1), 1, "swish")

    check((2, 6, 8, 6), lambda net, x: transformers.mobilevit_block(net, x, 16, 2), reference)


def test_references_can_fail() -> None:
    """A wrong kernel is told apart: the checks above are not blind."""
    with pytest.raises(AssertionError):
        check(MAP, lambda net, x: net.conv(x, 4), lambda r, x: 1.01 * convolve(x, r.take()))
