"""The ONNX conformance suite: every node model that onnx.backend.test can generate.

Each model goes through the stages below, one function per stage. A stage may refuse a model
with a reason; nothing may raise anything else. Bars: 0 tracebacks; the graph is read and its
kernels are extracted for every model that the checker accepts; every model that ONNX Runtime
runs with the suite's own data also runs with the data that lwprof makes for it.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from figures import arguments, save

from lwprof.agents.program import inputs, ort_runtime
from lwprof.agents.program.failures import Failure
from lwprof.errors import LwprofError
from lwprof.profiler.graph import Graph, input_specs, materialise, read
from lwprof.profiler.kernels import onnxruntime_kernels

OPTIONS = {"runtime": "onnxruntime", "provider": "CPU", "threads": 1, "optimisation": "all"}


class Refused(Exception):
    """A stage says why it cannot do a model."""


@dataclass
class Subject:
    """One model on its way through the stages.

    Attributes:
        name: of the test.
        data: the model as the suite generates it.
        feeds: the suite's own input arrays.
        graph, optimised: what earlier stages made of it.
    """

    name: str
    data: bytes
    feeds: dict[str, Any]
    folder: Path
    graph: Graph | None = None
    optimised: Any = None
    reasons: dict[str, str] = field(default_factory=dict)


def suite() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, model and the first data set of every node test."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = node.collect_testcases(None)
    for case in cases:
        values = case.data_sets[0][0] if case.data_sets else []
        names = [value.name for value in case.model.graph.input]
        yield case.name, case.model.SerializeToString(), dict(zip(names, values, strict=False))


def checker(subject: Subject) -> None:
    """The ONNX checker accepts the model."""
    try:
        onnx.checker.check_model(subject.data)
    except onnx.checker.ValidationError as error:
        raise Refused(str(error)) from error


def reading(subject: Subject) -> None:
    """lwprof reads it: checked, shaped, costed."""
    subject.graph = materialise(read(subject.data, name=subject.name))


def describing_data(subject: Subject) -> None:
    """lwprof describes data for its inputs, and the program on the device makes it."""
    assert subject.graph is not None
    inputs.build(input_specs(subject.graph))


def loading(subject: Subject) -> None:
    """ONNX Runtime loads it and saves the graph that it will execute."""
    assert subject.graph is not None
    path, saved = subject.folder / "model.onnx", subject.folder / "optimised.onnx"
    path.write_bytes(subject.graph.proto.SerializeToString())
    saved.unlink(missing_ok=True)
    ort_runtime.create(ort_runtime.import_onnxruntime(), str(path), OPTIONS, str(saved))
    subject.optimised = onnx.load(saved)


def kernels(subject: Subject) -> None:
    """Kernels of the optimised graph are mapped back to the model's operators."""
    assert subject.graph is not None
    found = onnxruntime_kernels(subject.graph, subject.optimised)
    for kernel in found:
        assert kernel.workload.key.startswith("w1:")


def running_suite_data(subject: Subject) -> None:
    """ONNX Runtime runs the suite's model with the suite's data (nothing of lwprof)."""
    path = subject.folder / "suite.onnx"
    path.write_bytes(subject.data)
    feeds = _as_runtime_values(ort_runtime.import_onnxruntime(), subject)
    ort_runtime.load(str(path), OPTIONS, feeds).first()


def running(subject: Subject) -> None:
    """ONNX Runtime runs lwprof's copy of the model with lwprof's data."""
    assert subject.graph is not None
    feeds = inputs.build(input_specs(subject.graph))
    ort_runtime.load(str(subject.folder / "model.onnx"), OPTIONS, feeds).first()


# In order; a model that one refuses skips those that need it.
STAGES: tuple[tuple[str, Callable[[Subject], None], str | None], ...] = (
    ("checker", checker, None),
    ("read", reading, "checker"),
    ("data", describing_data, "read"),
    ("load", loading, "read"),
    ("kernels", kernels, "load"),
    ("run, suite's data", running_suite_data, "checker"),
    ("run, our data", running, "load"),
)


def _as_runtime_values(ort: Any, subject: Subject) -> dict[str, Any]:
    """The suite's data as the runtime takes it; types that numpy lacks go as bit patterns."""
    return {
        name: _as_runtime_value(ort, value)
        for name, value in subject.feeds.items()
        if value is not None
    }


def _as_runtime_value(ort: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_as_runtime_value(ort, item) for item in value]
    if not isinstance(value, onnx.TensorProto):
        array = np.asarray(value)
        known = array.dtype == object or array.dtype.kind in "SU"
        if known or array.dtype.name in inputs._NUMPY:
            return array
        value = onnx.numpy_helper.from_array(array)
    if onnx.helper.tensor_dtype_to_np_dtype(value.data_type).name in inputs._NUMPY:
        return onnx.numpy_helper.to_array(value)
    width = np.uint16 if value.data_type == onnx.TensorProto.BFLOAT16 else np.uint8
    raw = np.frombuffer(value.raw_data or bytes(value.int32_data), width)
    bits = np.zeros(math.prod(value.dims), width)
    bits[: raw.size] = raw
    array = bits.reshape(tuple(value.dims))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, value.data_type)


def attempt(stage: Callable[[Subject], None], subject: Subject) -> tuple[str, str]:
    """Runs one stage: ("ok" | "refused" | "traceback", reason)."""
    try:
        stage(subject)
    except (LwprofError, Failure, Refused) as error:
        return "refused", " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - this is what is being looked for
        return "traceback", traceback.format_exc(limit=-3)
    return "ok", ""


def _kind(line: str) -> str:
    """A refusal without the names in it, so that equal ones can be counted."""
    return re.sub(r"(with name )?'[^']*'|/\S+:\d+|\(-?\d+\)", "…", line.split(": ", 2)[2])[:150]


def run_all(every: int, show: bool, json_path: str | None) -> int:
    """Takes every ``every``-th model through all stages; returns the number of failures."""
    ort_runtime.import_onnxruntime().set_default_logger_severity(4)  # refusals are ours to print
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, list[str]] = defaultdict(list)
    worse = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (name, data, feeds) in enumerate(suite()):
            if place % every:
                continue
            subject, outcomes = Subject(name, data, feeds, Path(folder)), {}
            for title, stage, needs in STAGES:
                if needs is not None and outcomes.get(needs) != "ok":
                    outcomes[title] = "not reached"
                    counts[title]["not reached"] += 1
                    continue
                outcomes[title], reason = attempt(stage, subject)
                counts[title][outcomes[title]] += 1
                if reason:
                    reasons[title].append(f"{name}: {outcomes[title]}: {reason}")
            if outcomes["run, suite's data"] == "ok" and outcomes["run, our data"] != "ok":
                worse.append(name)
    _print(counts, reasons, worse, show)
    tracebacks = sum(count["traceback"] for count in counts.values())
    missed = counts["checker"]["ok"] - counts["read"]["ok"]
    missed += counts["load"]["ok"] - counts["kernels"]["ok"]
    save(json_path, {"stages": {k: dict(v) for k, v in counts.items()}, "runs_only_with_suite_data":
                     worse, "tracebacks": tracebacks, "refusals": dict(reasons)})  # fmt: skip
    return tracebacks + missed + len(worse)


def _print(counts: Any, reasons: Any, worse: list[str], show: bool) -> None:
    print(f"{'stage':20} {'ok':>6} {'refused':>8} {'not reached':>12} {'traceback':>10}")
    for title, _, _ in STAGES:
        c = counts[title]
        print(f"{title:20} {c['ok']:6} {c['refused']:8} {c['not reached']:12} {c['traceback']:10}")
    print(f"ONNX Runtime runs with the suite's data and not with ours: {len(worse)} (bar: 0)")
    for name in worse:
        print("  ", name)
    for title, lines in reasons.items():
        kinds = Counter(_kind(line) for line in lines)
        for kind, count in kinds.most_common(None if show else 12):
            print(f"[{title}] {count:4} × {kind}")
        for line in lines if show else [one for one in lines if ": traceback: " in one][:20]:
            print(f"[{title}] {line[: 2000 if 'traceback' in line else 250]}")


if __name__ == "__main__":
    options = arguments(__doc__ or "", show=0)
    failures = run_all(20 if options.quick else 1, bool(options.show), options.json)
    sys.exit(1 if failures else 0)
