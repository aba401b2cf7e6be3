"""The small models that ship with onnx: kernels of each, and a model of each kernel.

``benchmarks/conformance.py`` does the same for the generated node models, which take long
to generate.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from kernel_world import check_complete, optimise

from lwprof.errors import LwprofError
from lwprof.profiler.graph import read
from lwprof.profiler.kernels import Workload, onnxruntime_kernels

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data"
SUITES = ["pytorch-converted", "pytorch-operator", "simple"]


@pytest.mark.parametrize("suite", SUITES)
def test_stored_models_give_kernels_and_their_models(suite):
    counts: Counter[str] = Counter()
    for path in sorted((FOLDER / suite).glob("*/model.onnx")):
        try:
            graph = read(path)
            optimised = optimise(graph.proto)
        except LwprofError:
            counts["refused"] += 1
            continue
        except Exception:  # noqa: BLE001 - the runtime's own classes; not what is tested
            counts["refused by the runtime"] += 1
            continue
        kernels = onnxruntime_kernels(graph, optimised)
        check_complete(graph, kernels)
        counts["mapped"] += 1
        for kernel in kernels:
            counts[_cut(kernel.workload)] += 1
    assert counts["mapped"] > 10 * counts["refused"], counts
    # Kernels that nothing feeds, or whose shapes depend on values, cannot be cut out.
    assert counts["cut"] > 3 * counts["not cut"], counts


def _cut(workload):
    try:
        Workload.from_description(workload.description, workload.key).to_model()
    except LwprofError:
        return "not cut"
    return "cut"
