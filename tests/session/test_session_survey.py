"""A survey of real networks on the host: resumed, kept up to date, undeterred by a bad network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from session_models import small_network

from lwprof.errors import ModelError
from lwprof.profiler.graph import Graph
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import read_model
from lwprof.profiler.session.result import MeasurementResult
from lwprof.profiler.session.survey import BLOCKS, survey
from lwprof.profiler.store import open_store

SETTINGS = Settings(threads=1)


def test_an_interrupted_survey_goes_on_where_it_stopped(tmp_path: Path) -> None:
    onnx.save(small_network(), tmp_path / "small.onnx")
    asked: list[int] = []

    def read(name: str) -> Graph:
        if name == "refused":
            raise ModelError("no runtime takes this")
        return read_model(str(tmp_path / "small.onnx") if name == "small" else name, SETTINGS)

    def choose(results: Mapping[str, Any], workloads: Mapping[str, Any]) -> Sequence[str]:
        asked.append(len(results))
        assert bool(results) == bool(workloads)
        return ["small", "refused", "resnet8"]

    def run(budget_s: float) -> tuple[MeasurementResult, list[str], bool]:
        effort = Effort(budget_s=budget_s)
        with open_store(tmp_path / "s.db") as store, open_device("host") as link:
            result = survey(link, choose, read, SETTINGS, effort, store, seed=1)
            arms = [block.arm for block in store.blocks(run=result.run_id)]
            run = store.run(result.run_id)
            return result, arms, bool(run and run.finished_utc)

    first, arms, finished = run(4.5)
    assert 0 < arms.count("in_context") < 2 * BLOCKS and not finished
    second, arms, finished = run(600.0)
    assert finished and second.run_id == first.run_id, "the same run, resumed"
    assert arms.count("in_context") == 2 * BLOCKS and arms.count("end_to_end") == 2
    assert asked[-1] == 2, "asked again, a chooser that has nothing new to say ends the survey"
    assert len(second.kernels) > len({k.operators for k in second.kernels}) > 3
    assert {k.workload for k in second.kernels} <= set(second.workloads)
    with open_store(tmp_path / "s.db") as store:
        (context,) = store.contexts(device="host")
        known = store.lookup([k.workload for k in second.kernels], context.key)
        assert all("latency_s" in known[k.workload] for k in second.kernels)
        assert {"call_s", "gap_s"} <= set(
            store.lookup(["runtime-overhead"], context.key)["runtime-overhead"]
        )
