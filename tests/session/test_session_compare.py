"""Comparing: verdicts on real pairs, gates, and saved results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from lwprof import api
from lwprof.errors import UsageError
from lwprof.profiler.session import blocks, scripts
from lwprof.profiler.session.result import SCHEMA


def test_four_times_the_work_is_found_and_fails_the_gate(measured, tmp_path) -> None:  # type: ignore[no-untyped-def]
    heavy = onnx.load(measured.path)
    # Sixty Sigmoids on the input: slower by far more than any noise of a shared machine.
    value, nodes = "x", []
    for index in range(60):
        nodes.append(helper.make_node("Sigmoid", [value], [f"s{index}"]))
        value = f"s{index}"
    heavy.graph.node[0].input[0] = value
    rest = list(heavy.graph.node)
    del heavy.graph.node[:]
    heavy.graph.node.extend([*nodes, *rest])
    result = api.compare(
        str(measured.path), heavy, threads=1, budget_s=60, gates={"latency": 0.05},
        store=str(tmp_path / "c.db"), seed=0,
    )  # fmt: skip
    assert result.verdict == "different" and result.ratio.low > 1.05
    assert result.gate == "fail"
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["schema"] == "lwprof.comparison/1"
    assert {"verdict", "ratio", "ratios", "margin", "minimum_detectable_effect", "a", "b",
            "gate"} <= data.keys()  # fmt: skip


def test_an_energy_gate_without_a_sensor_is_refused(measured) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="energy cannot be measured"):
        api.compare(str(measured.path), str(measured.path), gates={"energy": 0.1})


def test_a_drift_that_is_linear_over_a_quad_cancels() -> None:
    ratio, slices = 1.2, 24
    steps, results, now = [], [], 0
    for index in range(slices):
        for worker in (0, 1) if index % 2 == 0 else (1, 0):
            now += 1
            level = 1e6 * (1 + 0.01 * now) * (ratio if worker else 1.0)
            steps.append({"do": "time", "worker": worker})
            results.append({"times_ns": {"plain": [[round(level)] * 3]}})
    found = blocks.pair_log_ratio({"steps": steps}, {"steps": results})
    assert found == pytest.approx(np.log(ratio), abs=1e-3)


def test_a_pair_block_is_abba_and_starts_at_random() -> None:
    model = scripts.Runnable("0" * 64, [], {})
    for a_first in (True, False):
        script = scripts.pair(model, model, (0.001, 0.001), [0], a_first=a_first)
        order = [step["worker"] for step in script["steps"] if step["do"] == "time"]
        first = 0 if a_first else 1
        assert order[:4] == [first, 1 - first, 1 - first, first]
        assert order.count(0) == order.count(1)


def _saved(path: Path, medians: list[float], device: str = "host") -> Path:
    value = float(np.exp(np.mean(np.log(medians))))
    estimate = {"value": value, "low": value * 0.99, "high": value * 1.01, "level": 0.95,
                "source": "measured", "blocks": len(medians), "n": 100}  # fmt: skip
    model = {"name": path.stem, "sha256": "0" * 64, "latency_s": estimate,
             "blocks": [{"median_s": m, "flags": []} for m in medians]}  # fmt: skip
    path.write_text(json.dumps({"schema": SCHEMA, "device": device, "context": {},
                                "models": [model]}))  # fmt: skip
    return path


def test_saved_results_are_compared_without_a_device(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    base = 0.010 * np.exp(0.01 * rng.standard_normal(40))
    a = _saved(tmp_path / "a.json", list(base))
    b = _saved(tmp_path / "b.json", list(1.3 * base))
    result = api.compare(str(a), str(b))
    assert result.verdict == "different"
    assert result.ratio.low < 1.3 < result.ratio.high
    assert "not_interleaved" in result.flags


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "lwprof.audit/1"}',
                                  json.dumps({"schema": SCHEMA, "models": []}),
                                  json.dumps({"schema": SCHEMA, "models": [{}]})])  # fmt: skip
def test_other_files_are_refused_by_name(tmp_path, text) -> None:  # type: ignore[no-untyped-def]
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    good = _saved(tmp_path / "good.json", [0.01] * 12)
    with pytest.raises(UsageError, match="bad.json"):
        api.compare(str(good), str(bad))
