"""The audit: verdicts of planted ratios, refusals, resuming, chains, the contract's fields."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from compression_models import Small

from lwprof.auditing import audit
from lwprof.cli.audit import command
from lwprof.compression.audit import registry, rounds
from lwprof.compression.audit.candidates import Candidate
from lwprof.compression.audit.chaining import Expecting, search
from lwprof.compression.audit.result import Line
from lwprof.compression.running import output_error, random_feeds
from lwprof.compression.transform import Given, Transformed
from lwprof.errors import UsageError
from lwprof.profiler.graph import read
from lwprof.profiler.statistics import Estimate


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
    for seed in range(16):
        drawn = random.Random(seed)
        blocks = [_round({f"v{i}": 1.0 for i in range(10)}, 0.05, drawn) for _ in range(10)]
        found = rounds.outcomes(blocks, margin=0.001)
        false += any(o.verdict in ("faster", "slower") for o in found.values())
    assert false <= 3  # at most 5 % of 16, and a little luck


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


def test_an_audit_recommends_what_is_proven(wide: Any, tmp_path: Path) -> None:
    result = audit(wide, threads=1, store=str(tmp_path / "m.db"), budget_s=8.0,
                   transforms=["merge_linear", "ghost", "svd"])  # fmt: skip
    data = json.loads(json.dumps(result.to_json()))
    assert data["schema"] == "lwprof.audit/1"
    lines = {line["id"]: line for line in data["transforms"]}
    merged, ghost, svd = lines["merge_linear"], lines["ghost"], lines["svd"]
    assert merged["applied"] and merged["equivalent"] and merged["output_error"] < 1e-5
    assert merged["ratio"]["value"] < 0.6 and merged["macs"] < data["baseline"]["macs"] / 10
    assert merged["verdict"] == "faster" and merged["corrected_ratio"]["high"] < 1
    assert merged["recommended"] and merged["reservation"] is None
    assert not ghost["applied"] and ghost["reason"] and ghost["latency_s"] is None
    # Half the work of a random matrix loses far more than a tenth of its answers.
    assert svd["output_error"] > 0.1 and not svd["recommended"]
    for line in lines.values():
        assert {"id", "technique", "applied", "reason", "macs", "params", "size_bytes",
                "peak_memory_bytes", "predicted_latency_s", "latency_s", "energy_j", "ratio",
                "verdict", "output_error", "equivalent"} <= line.keys()  # fmt: skip
    assert result.pricing is not None and "lwprof measure" in result.pricing


class _Cut(Exception):
    """The session dies."""


def test_an_interrupted_audit_goes_on_with_its_rounds(wide: Any, tmp_path: Path) -> None:
    told: list[str] = []

    def cut(what: str, *_: float) -> None:
        told.append(what)
        if what.startswith("round 3 "):
            raise _Cut

    options: dict[str, Any] = {"threads": 1, "store": str(tmp_path / "m.db"), "budget_s": 30.0,
                               "transforms": ["merge_linear"]}  # fmt: skip
    with pytest.raises(_Cut):
        audit(wide, progress=cut, **options)
    assert [t for t in told if t.startswith("round 1 ")]
    told.clear()
    resumed = audit(wide, progress=lambda what, *_: told.append(what), **options)
    rounds_told = [t for t in told if t.startswith("round ")]
    assert rounds_told[0].startswith("round 4 ") and resumed.rounds >= 6
    line = resumed.line("merge_linear")
    assert line.outcome is not None and line.outcome.rounds == resumed.rounds
    told.clear()
    audit(wide, progress=lambda what, *_: told.append(what), **options)
    assert next(t for t in told if t.startswith("round ")).startswith("round 1 ")


@pytest.mark.parametrize(
    ("verdict", "equivalence", "error", "simulated", "wanted"),
    [
        ("faster", "equal", 1e-7, False, True),
        ("faster", "approximate", 0.09, False, True),
        ("faster", "approximate", 0.11, False, False),
        ("faster", "approximate", float("nan"), False, False),
        ("faster", "approximate", None, False, False),
        ("faster", "substituted", 0.0, False, False),
        ("faster", "approximate", 0.01, True, False),
        ("same", "equal", 0.0, False, False),
        ("slower", "equal", 0.0, False, False),
    ],
)
def test_what_is_recommended(
    verdict: str, equivalence: Any, error: float | None, simulated: bool, wanted: bool
) -> None:
    (transform,) = registry.transforms(["svd"])
    done = Transformed(None, ("a",), {}, equivalence, simulated=simulated)
    half = Estimate(0.5, 0.4, 0.6)
    outcome = rounds.Outcome(half, half, half, 0.0, verdict, 6)
    line = Line(Candidate(transform, done, None, None, error), None, outcome, 0.1)
    assert line.recommended is wanted


def test_the_chain_is_measured_and_its_model_written(wide: Any, tmp_path: Path) -> None:
    source, out, told = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "c.json"
    onnx.save(wide, source)
    arguments = [str(source), "--threads", "1", "--latency", "1us", "--budget", "3s",
                 "--store", str(tmp_path / "m.db"), "--transform", "merge_linear",
                 "--transform", "float16", "--json", str(told), "-o", str(out)]  # fmt: skip
    CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    chain = json.loads(told.read_text())["chain"]
    assert chain["steps"][0] == "merge_linear" and not chain["meets"]
    assert chain["latency_s"]["value"] > 1e-6 and chain["latency_s"]["source"] == "measured"
    assert output_error(wide, onnx.load(out)) == pytest.approx(chain["output_error"], abs=1e-3)


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
