"""Reading a 100-operator model to the form that kernels are extracted from.

Bar: ``read`` takes at most 150 ms, beside ``onnx.load`` on the same file; the ratio is
printed. ONNX's own shape inference on the file as it is, weights included, is shown too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from figures import arguments, save
from networks import label, light
from onnx import helper, numpy_helper

from lwprof.profiler.graph import read

BAR_S = 0.150


def hundred_operators(width: int) -> onnx.ModelProto:
    """33 × (convolution, normalisation, rectifier) and a global pool: 100 operators."""
    rng = np.random.default_rng(0)
    nodes, weights, channels, last = [], [], 3, "x"
    for i in range(33):
        shape = (width, channels, 3, 3)
        weights.append(numpy_helper.from_array(rng.random(shape, np.float32), f"w{i}"))
        weights += [numpy_helper.from_array(rng.random(width, np.float32), f"{n}{i}")
                    for n in ("scale", "bias", "mean", "var")]  # fmt: skip
        strides = [2, 2] if i in (0, 8, 16) else [1, 1]
        nodes += [
            helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1] * 4, strides=strides),
            helper.make_node("BatchNormalization",
                             [f"c{i}", *(f"{n}{i}" for n in ("scale", "bias", "mean", "var"))],
                             [f"n{i}"]),
            helper.make_node("Relu", [f"n{i}"], [f"r{i}"]),
        ]  # fmt: skip
        channels, last = width, f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    graph = helper.make_graph(
        nodes, "hundred", [helper.make_tensor_value_info("x", 1, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", 1, [1, width, 1, 1])], weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(path: Path, rounds: int) -> dict[str, float]:
    """Medians of interleaved calls, and the median of the paired ratios."""
    read(path)  # the first call imports
    loads, reads, infers = [], [], []
    for _ in range(rounds):
        loads.append(timed(lambda: onnx.load(path)))
        reads.append(timed(lambda: read(path)))
        infers.append(timed(lambda: onnx.shape_inference.infer_shapes(onnx.load(path))))
    ratios = [a / b for a, b in zip(reads, loads, strict=True)]
    return {
        "megabytes": path.stat().st_size / 1e6,
        "operators": len(read(path).operators),
        "load_s": statistics.median(loads),
        "read_s": statistics.median(reads),
        "load_and_infer_s": statistics.median(infers),
        "ratio": statistics.median(ratios),
    }


def run_all(quick: bool, json_path: str | None) -> int:
    """Prints the figures; returns how many 100-operator models miss the bar."""
    rounds, figures, missed = 5 if quick else 25, {}, 0
    print(f"{'model':24}{'MB':>7}{'operators':>11}{'load':>10}{'read':>10}{'ratio':>8}"
          f"{'load+infer':>13}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for width in (16, 64, 128):
            path = Path(folder) / f"hundred_operators_{width}.onnx"
            onnx.save(hundred_operators(width), path)
            made.append(path)
        for path in [*made, *([] if quick else map(Path, light()))]:
            row = figures[label(str(path))] = compare(path, rounds)
            print(f"{label(str(path)):24}{row['megabytes']:7.1f}{row['operators']:11}"
                  f"{row['load_s'] * 1e3:7.1f} ms{row['read_s'] * 1e3:7.1f} ms{row['ratio']:8.1f}"
                  f"{row['load_and_infer_s'] * 1e3:10.1f} ms")  # fmt: skip
            missed += path in made and row["read_s"] - row["load_s"] > BAR_S
    print(f"bar: read takes at most {BAR_S * 1e3:.0f} ms beside onnx.load; missed by {missed}")
    save(json_path, figures)
    return missed


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    sys.exit(1 if run_all(options.quick, options.json) else 0)
