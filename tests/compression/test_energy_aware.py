"""Energy-aware pruning: the energy's arithmetic, the restoring, and limits met."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lwprof.compression.pruning.accelerator import (
    ARRAY,
    BUFFER,
    DRAM,
    MAC_ENERGY_J,
    network_energy_j,
    network_work,
)
from lwprof.compression.pruning.energy_aware import choose, energy_aware
from lwprof.compression.pruning.least_squares import fit
from lwprof.compression.running import outputs, relative_error


def dense(batch: int = 8) -> Any:
    random = np.random.default_rng(0)
    arrays = {"a": random.normal(size=(20, 12)), "b": random.normal(size=20),
              "c": random.normal(size=(4, 20)), "d": random.normal(size=4)}  # fmt: skip
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Gemm", ["x", "a", "b"], ["h"], "h", transB=1), node("Relu", ["h"], ["r"], "r"),
         node("Gemm", ["r", "c", "d"], ["y"], "y", transB=1)],
        "small", [value("x", 1, [batch, 12])], [value("y", 1, [batch, 4])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in arrays.items()])  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                  ir_version=8)  # fmt: skip


def feeds(batch: int = 8, count: int = 40) -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(batch, 12)).astype(np.float32)} for _ in range(count)]


def test_energy_is_the_stated_sum() -> None:
    model, data = dense(), feeds()
    first, second = network_work(model, data)
    moving = DRAM + BUFFER + ARRAY
    share = first.output_density  # of the hidden values behind the activation
    assert 0.2 < share < 0.8 and second.input_density == pytest.approx(share)
    expected = 240 * (moving + 5) + 12 * moving + 20 * share * moving
    expected += 80 * (moving + 5 * share) + 20 * share * moving + 4 * moving
    assert network_energy_j(model, data) == pytest.approx(expected * MAC_ENERGY_J)


def test_energy_is_of_one_sample_whatever_the_batch() -> None:
    rows = np.concatenate([feed["x"] for feed in feeds()])
    alone = [{"x": row[None]} for row in rows]
    assert network_energy_j(dense(1), alone) == pytest.approx(network_energy_j(dense(), feeds()))


@pytest.mark.parametrize("share", [0.7, 0.4, 0.25])
def test_the_limit_is_met_and_used(share: float) -> None:
    model, data = dense(), feeds()
    limit = share * network_energy_j(model, data)
    pruned = energy_aware(model, model, data, limit)
    # Activations' densities shift a little when weights go.
    assert 0.85 * limit <= network_energy_j(pruned, data) <= 1.05 * limit
    assert [list(t.dims) for t in pruned.graph.initializer] == [
        list(t.dims) for t in model.graph.initializer]  # fmt: skip


def test_it_beats_magnitude_at_equal_energy() -> None:
    model, data = dense(), feeds()
    limit = 0.5 * network_energy_j(model, data)
    aware = energy_aware(model, model, data, limit)
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in plain.graph.initializer}
    for bar in np.sort(np.abs(np.concatenate([weights["a"].ravel(), weights["c"].ravel()]))):
        for tensor in plain.graph.initializer:
            if tensor.name in "ac":
                kept = np.where(np.abs(weights[tensor.name]) > bar, weights[tensor.name], 0)
                tensor.CopyFrom(onnx.numpy_helper.from_array(kept, tensor.name))
        if network_energy_j(plain, data) <= network_energy_j(aware, data):
            break
    fresh = feeds(count=80)[40:]
    expected = outputs(model, fresh)
    assert relative_error(expected, outputs(aware, fresh)) < 0.8 * relative_error(
        expected, outputs(plain, fresh))  # fmt: skip


def test_a_small_weight_on_a_loud_input_is_restored() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(size=(500, 10))
    rows[:, 3] *= 100
    weight = np.linspace(0.5, 1.0, 10)[None] * np.ones((4, 1))
    weight[:, 3] = 0.1
    alive = choose(rows, weight, 0.5)
    assert alive[:, 3].all()
    assert alive.sum() == pytest.approx(20, abs=1)


def test_least_squares_leaves_the_dead_dead_and_finds_the_rest() -> None:
    random = np.random.default_rng(3)
    rows, truth = random.normal(size=(400, 6)), random.normal(size=(3, 6))
    alive = random.random((3, 6)) < 0.6
    truth[~alive] = 0
    found = fit(rows, rows @ truth.T, truth + 0.3 * alive, alive)
    assert (found[~alive] == 0).all()
    assert found == pytest.approx(truth, abs=1e-3)
