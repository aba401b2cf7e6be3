"""Fitting a table and predicting networks never measured, on a planted machine.

The kernels are those that ONNX Runtime really makes of the networks; only their times are
planted, so the truth of every prediction is known.
"""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import helper

from lwprof import api
from lwprof.cli.main import cli
from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.conformance import check
from lwprof.predictors.interpolation import InterpolatingCostModel
from lwprof.predictors.kernel_features import facts
from lwprof.predictors.lookup import LookupCostModel
from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import kernels_on_host
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import OVERHEAD, Context, Device, Fact, Subject, open_store

MEASURED = ("mobilenet_v2", "squeezenet1_1", "resnet18", "mobilenet_v1", "shufflenet_v2_x1_0")
UNSEEN = ("mobilenet_v3_small", "mnasnet_b1")
CALL_S, GAP_S = 8e-6, 6e-7
CONTEXT = Context("planted-1", "onnxruntime", "1.32.0", "CPU", 1)


def planted_s(workload) -> float | None:  # type: ignore[no-untyped-def]
    """A machine of 20 GMAC/s and 8 GB/s; 2 % of scatter that belongs to the kernel."""
    try:
        counts = facts(workload)
    except UsageError:
        return None
    scatter = random.Random(workload.key).gauss(0, 0.02)
    return (3e-6 + counts.macs / 20e9 + counts.bytes_moved / 8e9) * math.exp(scatter)


@pytest.fixture(scope="module")
def kernels() -> dict[str, list]:  # type: ignore[type-arg]
    return {name: kernels_on_host(read(name)) for name in (*MEASURED, *UNSEEN)}


@pytest.fixture(scope="module")
def store(kernels, tmp_path_factory) -> str:  # type: ignore[no-untyped-def]
    path = str(tmp_path_factory.mktemp("planted") / "m.db")
    workloads = {k.workload.key: k.workload for name in MEASURED for k in kernels[name]}
    with open_store(path) as database:
        database.put_device(Device("planted-1", "host", "host"))
        run = database.begin_run({"kind": "plant"}, kind="campaign", context=CONTEXT)
        database.put_subject(Subject(OVERHEAD, "chain", "overhead"))

        def number(subject: str, quantity: str, value: float) -> Fact:
            estimate = Estimate(value, 0.98 * value, 1.02 * value, blocks=12)
            return Fact.of(estimate, run_id=run.run_id, context=CONTEXT.key, subject=subject,
                           quantity=quantity)  # fmt: skip

        numbers = [number(OVERHEAD, "call_s", CALL_S), number(OVERHEAD, "gap_s", GAP_S)]
        for index, (key, workload) in enumerate(workloads.items()):
            database.put_subject(Subject(key, "workload", "", workload.description))
            seconds = planted_s(workload)
            if seconds is None:
                continue
            # Alone everything is 20 % quicker; every third kernel is only known alone.
            numbers.append(number(key, "isolated_latency_s", seconds / 1.2))
            if index % 3:
                numbers.append(number(key, "latency_s", seconds))
        database.put_facts(numbers)
        database.finish_run(run.run_id)
    return path


def truth_s(kernels) -> float:  # type: ignore[no-untyped-def]
    return CALL_S + sum(GAP_S + (planted_s(k.workload) or 0.0) for k in kernels)


def test_before_the_fit_a_network_never_measured_is_a_miss(store) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CostMiss, match="lwprof fit"):
        api.predict(UNSEEN[0], device="host", store=store)


def test_after_the_fit_networks_never_measured_are_predicted(store, kernels) -> None:  # type: ignore[no-untyped-def]
    fit = api.fit("host", store=store)
    assert fit.kernels > 80
    assert fit.context_factors["all kernels"] == pytest.approx(1.2, rel=0.02)
    cost = api.cost_model("host", store=store, unknown="extrapolate")
    for name in UNSEEN:
        found = cost.predict([name])
        truth = truth_s(kernels[name])
        assert found.mean[0, 0] == pytest.approx(truth, rel=0.15)
        assert found.low[0, 0] <= truth <= found.high[0, 0]
        assert found.source[0, 0] in ("predicted", "extrapolated")
        explained = cost.explain(name)
        parts = sum(k.latency_s.value for k in explained.kernels) + explained.gap_s.value
        assert parts == pytest.approx(found.mean[0, 0])
        sources = explained.sources
        assert sum(sources.values()) == len(explained.kernels)
        assert sources["predicted"] + sources["extrapolated"] > 0 and sources["measured"] > 0
    upper = cost.quantile([UNSEEN[0]], 0.95)
    assert found.mean[0, 0] > 0 and upper[0, 0] > cost.predict([UNSEEN[0]]).mean[0, 0]


def test_held_out_figures_say_how_good_the_fit_is(store) -> None:  # type: ignore[no-untyped-def]
    fit = api.fit("host", store=store)
    shares = sum(family.share for family in fit.families)
    assert shares == pytest.approx(2.0), "each kind, and all of them together"
    pooled = next(f for f in fit.families if f.name == "all kernels")
    assert pooled.kernels == fit.kernels
    dense = next(f for f in fit.families if f.name.endswith("pointwise") and f.kernels > 20)
    assert dense.error < 0.10 and 0.75 <= dense.coverage <= 1.0
    again = api.fit("host", store=store)
    assert again.regressor.fingerprint_ == fit.regressor.fingerprint_
    assert again.families == fit.families, "equal data, equal fit"


def test_the_command_prints_and_writes(store, tmp_path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "fit.json"
    done = CliRunner().invoke(cli, ["fit", "--store", store, "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "pointwise" in done.output and "saved:" in done.output
    data = json.loads(out.read_text())
    assert data["schema"] == "lwprof.fit/1" and data["families"] and data["fingerprint"]
    asked = CliRunner().invoke(
        cli, ["predict", UNSEEN[0], "--store", store, "--unknown", "extrapolate", "--json", "-"]
    )
    assert asked.exit_code == 0, asked.output
    (model,) = json.loads(asked.output)["models"]
    assert model["latency_s"]["source"] in ("predicted", "extrapolated")
    assert model["sources"]["predicted"] > 0


def test_too_small_a_table_says_what_would_be_enough(tmp_path) -> None:
    path = str(tmp_path / "small.db")
    with open_store(path) as database:
        database.put_device(Device("planted-1", "host", "host"))
        run = database.begin_run({"kind": "plant"}, kind="campaign", context=CONTEXT)
        database.put_subject(Subject(OVERHEAD, "chain", "overhead"))
        fact = Fact.of(Estimate(1e-6, 1e-6, 1e-6), run_id=run.run_id, context=CONTEXT.key,
                       subject=OVERHEAD, quantity="call_s")  # fmt: skip
        database.put_facts([fact])
    with pytest.raises(UsageError, match="0 usable kernels, a fit needs 8.*--budget 20m"):
        api.fit("host", store=path)


def test_a_choice_that_matches_nothing_is_told(store) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="threads=7"):
        api.fit("host", store=store, threads=7)
    with pytest.raises(UsageError, match="between 0.5 and 1"):
        api.cost_model("host", store=store).quantile(["squeezenet1_1"], 0.2)
    assert np.isfinite(api.predict("squeezenet1_1", device="host", store=store).mean[0, 0])


def test_table_and_fitted_model_keep_every_promise_of_a_cost_model(store) -> None:  # type: ignore[no-untyped-def]
    api.fit("host", store=store)
    strange = helper.make_model(
        helper.make_graph(
            [helper.make_node("Einsum", ["x", "x"], ["y"], equation="bij,bkj->bik")], "strange",
            [helper.make_tensor_value_info("x", 1, [3, 700, 900])],
            [helper.make_tensor_value_info("y", 1, [3, 700, 700])],
        ), opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    fitted = api.cost_model("host", store=store)
    fitted.unknown = "extrapolate"
    assert check(fitted, UNSEEN, strange) == ()
    known = [name for name in MEASURED if not isinstance(_miss_of(fitted, name), CostMiss)]
    for kind in (LookupCostModel, InterpolatingCostModel):
        table = kind("host", open_store(store), CONTEXT)
        assert check(table, known[:2], UNSEEN[0]) == (), kind


def _miss_of(cost, name):  # type: ignore[no-untyped-def]
    try:
        return LookupCostModel("host", cost._store, CONTEXT).predict([name])
    except CostMiss as miss:
        return miss
