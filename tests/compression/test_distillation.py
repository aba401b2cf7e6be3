"""Distillation losses against closed forms, and the differentiable graph against the runtime."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lwprof import zoo
from lwprof.compression.distillation import losses
from lwprof.compression.distillation.torch_graph import TorchGraph
from lwprof.compression.distillation.training import accuracy, finetune, scores
from lwprof.compression.running import outputs, random_feeds
from lwprof.errors import ModelError
from lwprof.profiler.graph import read


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1"]
)
def test_the_module_answers_as_the_runtime(name: str) -> None:
    graph = read(zoo.build(name, resolution=64))
    feed = random_feeds(graph, 1)[0]
    expected = outputs(graph.proto, [feed])[0][0]
    with torch.no_grad():
        found = TorchGraph(graph)(*[torch.from_numpy(v) for v in feed.values()]).numpy()
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_what_cannot_be_trained_through_is_named() -> None:
    with pytest.raises(ModelError, match="cannot train through LRN"):
        TorchGraph(zoo.build("alexnet_2012"))


def test_hinton_equals_its_formula_and_falls_to_nought() -> None:
    s, t = draw(5, 4), draw(5, 4, seed=1)
    p, q = (torch.softmax(x / 3, 1) for x in (t, s))
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    assert losses.hinton(s, t, temperature=3).item() == pytest.approx(expected.item())
    assert losses.hinton(t, t, temperature=3).item() == pytest.approx(0, abs=1e-12)
    labels = torch.tensor([0, 1, 2, 3, 0])
    both = losses.hinton(s, t, labels, temperature=3, alpha=0.25).item()
    plain = torch.nn.functional.cross_entropy(s, labels)
    assert both == pytest.approx(0.25 * expected.item() + 0.75 * plain.item())


def test_hinton_gradient_keeps_its_size_over_temperatures() -> None:
    # For T → ∞ the gradient is (s − t) / classes per sample: T² is what makes it so.
    s, t = draw(3, 4).requires_grad_(), draw(3, 4, seed=1)
    losses.hinton(s, t, temperature=1e4).backward()
    centred = (s - t).detach() - (s - t).detach().mean(1, keepdim=True)
    assert torch.allclose(s.grad, centred / 4 / 3, atol=1e-4)


def test_fsp_is_the_mean_product_over_positions() -> None:
    a, b = draw(2, 3, 4, 4), draw(2, 5, 4, 4, seed=1)
    expected = sum(a[0, 1, i, j] * b[0, 2, i, j] for i in range(4) for j in range(4)) / 16
    assert losses.flow(a, b)[0, 1, 2].item() == pytest.approx(expected.item())
    assert losses.flow(a, draw(2, 5, 2, 2)).shape == (2, 3, 5)
    assert losses.fsp([(a, b)], [(a, b)]).item() == 0
    wider = losses.fsp([(a, b)], [(a + 1, b)]).item()
    shift = b.mean((2, 3))  # G changes by the mean of the second map, for each of 3 channels
    assert wider == pytest.approx((3 * shift.square().sum(1)).mean().item())


def test_dark_rank_is_a_distribution_over_orders() -> None:
    x = draw(5, 3)
    mine = losses._similarities(x, 1.0, 1.0)
    total = sum(losses._plackett_luce(mine[list(o)]).exp() for o in permutations(range(4)))
    assert total.item() == pytest.approx(1)
    assert losses.dark_rank(x, x, 1.0, 1.0, hard=False).item() == pytest.approx(0, abs=1e-9)
    y = draw(5, 3, seed=4)
    assert losses.dark_rank(y, x, 1.0, 1.0, hard=False).item() > 0
    near = torch.cat([x[:1], x[:1] + torch.arange(1.0, 5.0)[:, None] * 5])
    assert losses.dark_rank(near, near, 1.0, 1.0).item() < losses.dark_rank(
        near[[0, 2, 1, 3, 4]], near, 1.0, 1.0).item()  # fmt: skip


def test_sobolev_of_linear_maps_is_the_difference_of_their_slopes() -> None:
    a, b = draw(1, 4), draw(1, 4, seed=1)
    x = torch.zeros(6, 4, dtype=torch.float64)
    found = losses.sobolev(lambda v: v @ a.T, lambda v: v @ b.T, x)
    # At x = 0 values agree; along the only direction, ±1, the slopes differ by a − b.
    assert found.item() == pytest.approx((a - b).square().sum().item())


def test_rocket_hint_does_not_move_the_booster() -> None:
    light, booster = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0])
    losses.rocket(light, booster, labels, weight=0.5).backward()
    alone = booster.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(alone, labels).backward()
    assert torch.allclose(booster.grad, alone.grad)
    plain = light.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(plain, labels).backward()
    hint = 0.5 * 2 * (light - booster).detach() / light.numel()
    assert torch.allclose(light.grad, plain.grad + hint)


def test_group_lasso_counts_rows_and_columns() -> None:
    w = torch.zeros(3, 2, 1, 1)
    w[0, 1] = 3.0
    w[2, 1] = 4.0
    # Rows: 3 and 4; columns: 0 and √(9 + 16) = 5.
    assert losses.group_lasso([w]).item() == pytest.approx(12, abs=1e-4)
    assert math.isfinite(losses.group_lasso([w]).item())


def small(hidden: int, seed: int) -> Any:
    import onnx

    random = np.random.default_rng(seed)
    arrays = {"a": random.normal(size=(hidden, 64)) / 8, "b": np.zeros(hidden),
              "c": random.normal(size=(10, hidden)) / np.sqrt(hidden), "d": np.zeros(10)}  # fmt: skip
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Gemm", ["x", "a", "b"], ["h"], "h", transB=1), node("Relu", ["h"], ["r"], "r"),
         node("Gemm", ["r", "c", "d"], ["y"], "y", transB=1)],
        "small", [value("x", 1, [1, 64])], [value("y", 1, [1, 10])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in arrays.items()])  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                  ir_version=8)  # fmt: skip


def test_finetuning_learns_digits_and_keeps_what_was_pruned() -> None:
    import onnx
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    model = small(32, 0)
    stored = next(t for t in model.graph.initializer if t.name == "a")
    array = onnx.numpy_helper.to_array(stored).copy()
    array[np.random.default_rng(1).random(array.shape) < 0.5] = 0
    stored.CopyFrom(onnx.numpy_helper.from_array(array, "a"))
    trained = finetune(model, x[:1200], classes[:1200], epochs=15, rate=1e-2)
    assert accuracy(model, x[1200:], classes[1200:]) < 0.3
    assert accuracy(trained, x[1200:], classes[1200:]) > 0.85
    after = onnx.numpy_helper.to_array(next(t for t in trained.graph.initializer if t.name == "a"))
    assert ((after == 0) == (array == 0)).all()
    # A student that only sees the teacher's answers comes near them.
    student = finetune(small(8, 3), x[:1200], classes[:1200], epochs=15, rate=1e-2,
                       teacher=trained)  # fmt: skip
    agree = (scores(student, x[1200:]).argmax(1) == scores(trained, x[1200:]).argmax(1)).mean()
    assert agree > 0.8
