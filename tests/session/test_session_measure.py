"""Measuring for real: the contract's JSON, the store, resuming, predicting."""

from __future__ import annotations

import json
import math

import pytest

from lwprof import api
from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.opening import open_cost_model
from lwprof.profiler.session.isolated import VISITS
from lwprof.profiler.session.measure import pooled
from lwprof.profiler.session.options import Effort
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import open_store


def test_the_result_has_the_fields_of_the_contract(measured) -> None:  # type: ignore[no-untyped-def]
    data = json.loads(json.dumps(measured.result.to_json(), allow_nan=False))
    assert data["schema"] == "lwprof.measurement/1"
    assert {"device", "context", "started", "duration_s", "models", "workloads"} <= data.keys()
    (model,) = data["models"]
    for name in ("latency_s", "load_s", "gap_s", "peak_memory_bytes", "first_inference_s"):
        estimate = Estimate.from_json(model[name])
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.source == "measured" and estimate.level == 0.95
    assert model["energy_j"] is None and model["energy_scope"] is None
    assert model["verdict"] in ("ok", "unfit") and isinstance(model["flags"], list)
    closure = model["closure"]
    assert closure["error"] == pytest.approx(
        closure["sum_s"] / closure["end_to_end_s"] - 1, abs=0.1
    )
    assert all(kernel["workload"] in data["workloads"] for kernel in model["kernels"])


def test_every_original_operator_is_in_exactly_one_kernel(measured) -> None:  # type: ignore[no-untyped-def]
    kernels = measured.result.models[0].kernels
    nodes = [node for kernel in kernels for node in kernel.nodes]
    # Flatten is a reshape that the runtime may fold away; nothing else may go missing.
    assert sorted(set(nodes) | {"flatten"}) == sorted(
        ["conv1", "relu1", "conv2", "add", "pool", "flatten", "gemm"]
    )
    assert len(nodes) == len(set(nodes))
    conv1 = next(kernel for kernel in kernels if "conv1" in kernel.nodes)
    assert conv1.nodes == ("conv1", "relu1"), "fused in the runtime, so one kernel"
    assert conv1.macs == 16 * 32 * 32 * 3 * 9


def test_kernels_and_gap_add_up_to_the_sum_of_the_closure(measured) -> None:  # type: ignore[no-untyped-def]
    model = measured.result.models[0]
    total = sum(k.latency_s.value for k in model.kernels if not k.latency_s.at_most)
    assert model.gap_s is not None and model.closure is not None
    assert total + model.gap_s.value <= model.closure.sum_s * 1.02


def test_raw_samples_are_in_the_store(measured) -> None:  # type: ignore[no-untyped-def]
    with open_store(measured.store) as store:
        blocks = list(store.blocks(run=measured.result.run_id))
        (run,) = store.runs()
    assert run.finished_utc is not None
    arms = [block.arm for block in blocks]
    assert arms.count("in_context") == Effort().in_context_blocks
    plain = next(block for block in blocks if block.arm == "end_to_end")
    times = [s["times_ns"]["plain"] for s in plain.payload["record"]["steps"] if "times_ns" in s]
    assert plain.n == sum(len(part) for slices in times for part in slices) > 0
    order = [block.arm for block in blocks if block.arm != "pilot"]
    assert order != sorted(order), "arms are interleaved, not one after the other"


def test_an_interrupted_run_goes_on_where_it_stopped(measured, tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = str(tmp_path / "m.db")
    short = api.measure([str(measured.path)], threads=1, rel_ci=0.001, budget_s=4, store=store)
    with open_store(store) as database:
        first = {block.block_id for block in database.blocks(run=short.run_id)}
        # What a kill would have left: the run without its end.
        with database.writing() as connection:
            from sqlalchemy import text

            connection.execute(text("update runs set finished_utc = null"))
    again = api.measure([str(measured.path)], threads=1, rel_ci=0.001, budget_s=20, store=store)
    with open_store(store) as database:
        ids = [block.block_id for block in database.blocks()]
    assert again.run_id == short.run_id
    assert first < set(ids) and len(ids) == len(set(ids))


def test_prediction_is_the_sum_over_the_table(measured) -> None:  # type: ignore[no-untyped-def]
    costs = api.predict(str(measured.path), device="host", store=measured.store)
    (model,) = costs.models
    parts = [*(k.latency_s for k in model.kernels), model.gap_s]
    assert costs.mean[0, 0] == pytest.approx(
        sum(e.value / 2 if e.at_most else e.value for e in parts)
    )
    assert costs.low[0, 0] <= costs.mean[0, 0] <= costs.high[0, 0]
    assert json.loads(json.dumps(costs.to_json()))["schema"] == "lwprof.prediction/1"


def test_a_kernel_that_was_never_measured_is_refused_by_name(measured) -> None:  # type: ignore[no-untyped-def]
    other = small = _wider(measured.path)
    cost = open_cost_model("host", {}, measured.store)
    with pytest.raises(CostMiss, match="lacks") as caught:
        cost.predict([other])
    assert caught.value.workloads and small is other


def test_no_context_is_named_with_the_command_to_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="run lwprof measure"):
        open_cost_model("host", {}, str(tmp_path / "empty.db"))


def test_known_kernels_are_not_measured_again(measured) -> None:  # type: ignore[no-untyped-def]
    before = _visited(measured.store)
    api.measure([str(measured.path)], threads=1, rel_ci=0.5, budget_s=300, store=measured.store)
    with open_store(measured.store) as store:
        facts = {
            fact.subject: fact.estimate()
            for fact in store.facts(run=measured.result.run_id, quantity="isolated_latency_s")
        }
    precise = {k for k, e in facts.items() if e.at_most or e.relative_half_width <= 0.05}
    after = _visited(measured.store)
    assert {key: after[key] for key in precise} == {key: before[key] for key in precise}


def _visited(path: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    with open_store(path) as store:
        for block in store.blocks(subject=VISITS):
            for step in block.payload["script"]["steps"]:
                if step["do"] == "profile":
                    counts[step["session"]] = counts.get(step["session"], 0) + 1
    return counts


def _wider(path):  # type: ignore[no-untyped-def]
    import onnx

    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 48
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 48
    return model


def test_a_network_of_constants_alone_has_a_latency_and_no_kernels(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    value = numpy_helper.from_array(np.ones((2, 2), np.float32), "c")
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=value)], "constant", [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = api.measure(
        [model], threads=1, budget_s=2, rel_ci=0.5, store=str(tmp_path / "m.db")
    )  # fmt: skip
    assert result.models[0].latency_s.value > 0 and not result.models[0].kernels
    json.dumps(result.to_json(), allow_nan=False)


def test_occurrences_of_a_workload_arepooled_whatever_is_known_of_each() -> None:
    known = Estimate(3e-6, 2e-6, 4e-6, blocks=12)
    bounded = Estimate(5e-6, 0.0, 5e-6, blocks=12, at_most=True)
    once = Estimate(2e-6, 0.0, math.inf, blocks=1)
    assert pooled([known, known]).value == pytest.approx(3e-6)
    both = pooled([known, bounded])
    assert both.at_most and both.value == 5e-6
    unbounded = pooled([bounded, once])
    assert not unbounded.at_most and unbounded.high == math.inf and unbounded.value < 1
