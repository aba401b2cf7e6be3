"""The audit: verdicts of planted ratios, refusals, resuming, chains, the contract's fields."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compression_models import Small

from lwprof.auditing import audit
from lwprof.compression.audit import registry, rounds
from lwprof.compression.audit.chaining import Expecting, search
from lwprof.compression.running import random_feeds
from lwprof.compression.transform import Given
from lwprof.errors import UsageError
from lwprof.profiler.graph import read


def _round(ratios: dict[str, float], spread: float, drawn: random.Random) -> Any:
    """A finished round of planted times: ABBA slices, a drift, and a speed of its own."""
    steps, results = [], []
    speed = math.exp(drawn.gauss(0, 0.1))
    for name, ratio in ratios.items():
        visit = math.exp(drawn.gauss(0, spread))
        control = [[int(1e6 * speed * (1 + 0.01 * i))] * 5 for i in range(4)]
        variant = [[int(1e6 * speed * (1 + 0.01 * i) * ratio * visit)] * 5 for i in range(4)]
        steps.append({"do": "time", "sessions": ["control", name]})
        results.append({"times_ns": {"control": control, name: variant}})
    return SimpleNamespace(payload={"script": {"steps": steps}, "record": {"steps": results}})


def test_planted_ratios_are_found_and_equal_ones_are_not_called_different() -> None:
    planted = {"half": 0.5, "tenth_more": 1.1, **{f"equal{i}": 1.0 for i in range(12)}}
    drawn = random.Random(3)
    blocks = [_round(planted, 0.01, drawn) for _ in range(16)]
    found = rounds.outcomes(blocks)
    assert found["half"].verdict == "faster" and found["tenth_more"].verdict == "slower"
    assert {found[f"equal{i}"].verdict for i in range(12)} <= {"same", "undecided"}
    for name, ratio in planted.items():
        assert found[name].corrected.low < ratio < found[name].corrected.high
        assert found[name].corrected.high >= found[name].ratio.value


def test_noise_alone_is_seldom_a_difference() -> None:
    false = 0
    for seed in range(40):
        drawn = random.Random(seed)
        blocks = [_round({f"v{i}": 1.0 for i in range(10)}, 0.05, drawn) for _ in range(10)]
        found = rounds.outcomes(blocks, margin=0.001)
        false += any(o.verdict in ("faster", "slower") for o in found.values())
    assert false <= 4  # at most 5 % of 40, and a little luck


def test_unknown_transforms_are_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'svdd'.*svd"):
        registry.transforms(["svdd"])
    ids = [transform.id for transform in registry.transforms()]
    assert len(ids) == len(set(ids)) >= 25


@pytest.fixture(scope="module")
def wide() -> Any:
    """Two dense layers without an activation between them and a wide middle: merging pays."""
    net = Small((8, 256))
    first = net.op("Gemm", "x", net.weight(2048, 256), net.weight(2048, scale=0.1), transB=1)
    return net.model(net.op("Gemm", first, net.weight(64, 2048), transB=1))


def test_an_audit_recommends_what_is_proven_and_resumes(wide: Any, tmp_path: Path) -> None:
    store = str(tmp_path / "m.db")
    options: dict[str, Any] = {"threads": 1, "store": store, "budget_s": 12.0,
                               "transforms": ["merge_linear", "ghost", "float16"]}  # fmt: skip
    result = audit(wide, **options)
    data = json.loads(json.dumps(result.to_json()))
    assert data["schema"] == "lwprof.audit/1"
    lines = {line["id"]: line for line in data["transforms"]}
    merged, ghost = lines["merge_linear"], lines["ghost"]
    assert merged["applied"] and merged["equivalent"] and merged["output_error"] < 1e-5
    assert merged["ratio"]["value"] < 0.6 and merged["macs"] < data["baseline"]["macs"] / 10
    assert not ghost["applied"] and ghost["reason"] and ghost["latency_s"] is None
    for line in lines.values():
        assert {"id", "technique", "applied", "reason", "macs", "params", "size_bytes",
                "peak_memory_bytes", "predicted_latency_s", "latency_s", "energy_j", "ratio",
                "verdict", "output_error", "equivalent"} <= line.keys()  # fmt: skip
    assert result.pricing is not None and "lwprof measure" in result.pricing


def test_predicting_without_any_table_says_what_to_do(tmp_path: Path) -> None:
    net = Small((1, 8))
    model = net.model(net.op("Gemm", "x", net.weight(4, 8), transB=1))
    with pytest.raises(UsageError, match="lwprof measure"):
        audit(model, predict_only=True, store=str(tmp_path / "none.db"))


def test_the_chain_takes_the_best_gain_per_error_until_the_limit_is_met(wide: Any) -> None:
    graph = read(wide)
    chosen = registry.transforms(["merge_linear", "float16", "svd"])
    feeds = random_feeds(graph, 1)

    def by_work(variant: Any) -> float:
        return float((variant.macs or 0) + variant.size_bytes)

    start = by_work(graph)
    expecting = Expecting(by_work, {}, start)
    steps = search(graph, chosen, Given(work=0.5), feeds, 0.5 * start, expecting)
    assert steps.ids == ("merge_linear",) and steps.output_error < 1e-5
    assert steps.latency_s is not None and steps.latency_s <= 0.5 * start
    none = search(graph, chosen, Given(work=0.5), feeds, 2 * start, expecting)
    assert none.ids == () and none.graph is graph
    far = search(graph, chosen, Given(work=0.5), feeds, 0.0, expecting)
    assert far.ids[0] == "merge_linear" and len(far.ids) > 1
    assert np.isfinite(far.output_error)
