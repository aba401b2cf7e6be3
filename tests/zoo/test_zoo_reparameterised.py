"""Trained and deployed forms of RepVGG and RepGhost answer alike on the same weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof import zoo
from lwprof.zoo.families import ghostnet, repvgg
from lwprof.zoo.reparameterisation import identity, merge


def outputs(model: Any, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"input": x})[0]


def alike(first: Any, second: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    a, b = outputs(first, x), outputs(second, x)
    assert np.ptp(a) > 0
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max())


@pytest.mark.parametrize("name", ["repvgg_a0", "repvgg_b0", "repghostnet"])
def test_deployed_network_answers_like_the_trained_one(name: str) -> None:
    trained, deployed = (zoo.build(n, resolution=64, seed=11) for n in (name, f"{name}_deploy"))
    alike(trained, deployed, (1, 3, 64, 64))


@pytest.mark.parametrize("name", ["repvgg_a0", "repghostnet"])
def test_other_weights_answer_differently(name: str) -> None:
    """So that the equality above is not the equality of constants."""
    trained = zoo.build(name, resolution=64, seed=11)
    other = zoo.build(f"{name}_deploy", resolution=64, seed=12)
    with pytest.raises(AssertionError):
        alike(trained, other, (1, 3, 64, 64))


def test_deployed_repvgg_is_nothing_but_convolutions_and_relu() -> None:
    kinds = Counter(node.op_type for node in zoo.build("repvgg_a0_deploy").graph.node)
    assert kinds == {"Conv": 22, "Relu": 22, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def test_deployed_repghost_keeps_additions_only_for_shortcuts() -> None:
    kinds = {
        name: Counter(node.op_type for node in zoo.build(name, weights="none").graph.node)
        for name in ("repghostnet", "repghostnet_deploy")
    }
    modules = 2 * 16
    assert kinds["repghostnet"]["Add"] - kinds["repghostnet_deploy"]["Add"] == modules
    assert kinds["repghostnet"]["Conv"] == kinds["repghostnet_deploy"]["Conv"]
    assert "Concat" not in kinds["repghostnet_deploy"]


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 9), out=st.integers(1, 9), stride=st.integers(1, 2),
    size=st.integers(3, 8), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_repvgg_block_merges(
    channels: int, out: int, stride: int, size: int, seed: int
) -> None:
    shape = (2, channels, size, size + 1)
    forms = [
        zoo.draw(
            lambda net, d=deploy: repvgg.block(net, net.input(shape), out, stride, d), seed=seed
        )
        for deploy in (False, True)
    ]
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    a, b = (outputs(form, x) for form in forms)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1.0, np.abs(a).max()))


@settings(max_examples=15, deadline=None)
@given(out=st.integers(1, 9), size=st.integers(3, 8), seed=st.integers(0, 99))
def test_any_repghost_module_merges(out: int, size: int, seed: int) -> None:
    shape = (2, 5, size, size + 1)
    forms = [
        zoo.draw(lambda net, d=deploy: ghostnet.repghost(net, net.input(shape), out, "relu", d),
                 seed=seed)
        for deploy in (False, True)
    ]  # fmt: skip
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    a, b = (outputs(form, x) for form in forms)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_identity_convolution_changes_nothing(groups: int) -> None:
    """Input channel i reaches output channel i and no other, in every group."""
    weight = identity(4, groups)[:, :, 0, 0]
    for channel in range(4):
        group = channel // (4 // groups)
        row = np.zeros(4)
        row[group * (4 // groups) : (group + 1) * (4 // groups)] = weight[channel]
        assert row.tolist() == np.eye(4)[channel].tolist()


def test_merge_centres_the_smaller_kernel() -> None:
    three, one = np.ones((1, 1, 3, 3)), np.full((1, 1, 1, 1), 10.0)
    kernel, bias = merge([(three, np.array([1.0])), (one, np.array([2.0]))], 3)
    assert kernel[0, 0].tolist() == [[1, 1, 1], [1, 11, 1], [1, 1, 1]]
    assert bias.tolist() == [3.0]
