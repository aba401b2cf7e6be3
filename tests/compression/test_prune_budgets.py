"""Pruning to a budget: met as measured, infeasible ones answered, resumed; the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import lwprof
from lwprof import zoo
from lwprof.cli.prune import command
from lwprof.compression.graph.resizing import resizable
from lwprof.compression.pruning.pricing import by_macs, by_memory
from lwprof.compression.pruning.run import Pruner
from lwprof.compression.pruning.scene import scene
from lwprof.compression.pruning.script import load_function
from lwprof.errors import UsageError
from lwprof.profiler.graph import read
from lwprof.profiler.statistics import Estimate


def device(model: Any) -> Estimate:
    """A stand-in with what real devices have: a floor, kernels that cost more than their MACs,
    and an interval of ±3 %."""
    graph = read(model)
    seconds = 2e-4 + 1e-9 * (graph.macs or 0) + 4e-9 * graph.params
    return Estimate(seconds, 0.97 * seconds, 1.03 * seconds, blocks=5)


NETWORK = "resnet8"


def pruner(limit: float, **more: Any) -> Pruner:
    seen = scene(zoo.build(NETWORK), seed=1)
    return Pruner(seen, by_macs(resizable(seen.found.graph)), "latency_s", limit, "host",
                  measure=device, **more)  # fmt: skip


@pytest.mark.parametrize("share", [0.35, 0.7])
def test_budgets_are_met_as_measured_and_used(share: float) -> None:
    full = device(zoo.build(NETWORK)).value
    result = pruner(share * full).run()
    assert result.feasible and result.after is not None and result.after.measured is not None
    assert 0.9 * share * full <= result.after.measured.high <= share * full
    assert device(result.model).value == result.after.measured.value
    shapes = [tensor.shape for tensor in read(result.model).outputs]
    assert shapes == [(1, 10)]


def test_a_budget_that_is_met_already_removes_nothing() -> None:
    result = pruner(1.0).run()
    assert result.after is not None and result.after.widths == result.before.widths
    assert len(result.steps) == 1


def test_an_infeasible_budget_is_answered_with_what_can_be_reached() -> None:
    result = pruner(1.5e-4).run()
    assert not result.feasible and result.model is None
    assert result.minimum is not None and result.minimum > 2e-4
    assert result.minimum == result.steps[-1].measured.value  # type: ignore[union-attr]


def test_an_interrupted_pruning_goes_on_without_measuring_again(tmp_path: Path) -> None:
    asked: list[Any] = []

    def counted(model: Any) -> Estimate:
        asked.append(model)
        return device(model)

    state = tmp_path / "state.json"
    full = device(zoo.build(NETWORK)).value
    first = pruner(0.5 * full, state=state)
    first.measure = counted
    done = first.run()
    count = len(asked)
    again = pruner(0.5 * full, state=state)
    again.measure = counted
    assert again.run().to_json() == done.to_json()
    assert len(asked) == count > 1


def test_multiply_accumulates_are_exact_in_the_widths() -> None:
    found = resizable(read(zoo.build("resnet8")))
    price, random = by_macs(found), np.random.default_rng(0)
    for _ in range(5):
        widths = random.integers(1, found.widths + 1)
        assert price(widths) == pytest.approx(read(found.resize(widths)).macs, rel=1e-6)


def test_memory_budgets_are_exact() -> None:
    model = zoo.build("resnet8")
    whole = read(model).peak_memory_bytes
    assert whole is not None
    result = lwprof.prune(model, peak_memory_bytes=whole / 2)
    assert result.feasible and result.after is not None
    assert read(result.model).peak_memory_bytes == result.after.predicted <= whole / 2
    assert by_memory(resizable(read(model)))(np.array(list(result.after.widths.values()))) == (
        result.after.predicted)  # fmt: skip


def test_the_command_writes_the_network_and_its_path(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("def score(model):\n    return len(model.graph.node) / 100\n")
    out, told = tmp_path / "small.onnx", tmp_path / "path.json"
    ran = CliRunner().invoke(command, [
        "resnet8", "--memory", "100KiB", "-o", str(out), "--json", str(told),
        "--eval", f"{script}:score",
    ], catch_exceptions=False, standalone_mode=False)  # fmt: skip
    assert ran.return_value == 0, ran.output
    data = json.loads(told.read_text())
    assert data["schema"] == "lwprof.prune/1" and data["model_path"] == str(out)
    assert data["after"]["peak_memory_bytes"] <= 100 * 1024 == data["budget"]["limit"]
    assert data["after"]["accuracy"] == len(onnx.load(out).graph.node) / 100
    assert read(str(out)).peak_memory_bytes == data["after"]["peak_memory_bytes"]


def test_the_command_answers_infeasible_budgets_with_exit_3() -> None:
    ran = CliRunner().invoke(command, ["mcunet_in0", "--memory", "10KiB"], catch_exceptions=False,
                             standalone_mode=False)  # fmt: skip
    assert ran.return_value == 3
    assert "the least that can be reached is 29.2 KiB" in ran.output


def test_wrong_usage_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one budget"):
        lwprof.prune("mcunet_in0")
    with pytest.raises(UsageError, match="no selector"):
        lwprof.prune("mcunet_in0", peak_memory_bytes=1e5, selector="best")
    with pytest.raises(UsageError, match="script.py:function"):
        load_function("nothing.py:f")
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(UsageError, match="calibration"):
        from lwprof.pruning import read_calibration

        read_calibration(tmp_path / "x.npz")
