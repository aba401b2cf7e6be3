"""Every network of the zoo at its full size in ONNX Runtime, and imported into TVM.

Per network: whether the outputs are finite and depend on the input, their size, and the largest
activation inside (float16 ends at 65504). ``--tvm 1`` imports into TVM's Relax instead.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime
from figures import arguments, machine, save

from lwprof import zoo

# The differences of an adder convolution, a gigabyte per layer, are not watched.
_WATCHED_ELEMENTS = 2**26
# Bars: the largest activation in the range of float16, outputs of order 1 to 100.
FLOAT16_BAR, OUTPUT_BAR = 6e4, 100.0


def watched(model: onnx.ModelProto) -> list[str]:
    """Adds the largest magnitude of every float activation as a graph output; their names."""
    shapes = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    names = []
    for value in shapes:
        kind = value.type.tensor_type
        extents = [d.dim_value for d in kind.shape.dim]
        if kind.elem_type != onnx.TensorProto.FLOAT or math.prod(extents) > _WATCHED_ELEMENTS:
            continue
        name = f"largest of {value.name}"
        model.graph.node.add(op_type="Abs", input=[value.name], output=[f"{name}, abs"])
        largest = onnx.helper.make_node("ReduceMax", [f"{name}, abs"], [name], keepdims=0)
        model.graph.node.append(largest)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
        names.append(name)
    return names


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), settings,
                                        providers=["CPUExecutionProvider"])  # fmt: skip


def run(name: str, **given: Any) -> dict[str, Any]:
    """Outputs of ``name`` on two inputs, and the largest activation on the first."""
    model = zoo.build(name, **given)
    results = [output.name for output in model.graph.output]
    inside = watched(model)
    runtime = session(model)
    shape = runtime.get_inputs()[0].shape
    images = np.random.default_rng(0).standard_normal((2, *shape), dtype=np.float32)
    first, other = (runtime.run(results, {"input": image}) for image in images)
    peaks = dict(zip(inside, runtime.run(inside, {"input": images[0]}), strict=True))
    worst = max(peaks, key=lambda key: float(peaks[key]), default="")
    moved = min(float(np.abs(a - b).max() / max(a.std(), 1e-30))
                for a, b in zip(first, other, strict=True))  # fmt: skip
    return {
        "network": name,
        "finite": all(bool(np.isfinite(output).all()) for output in first),
        "output_std": max(float(output.std()) for output in first),
        "output_max": max(float(np.abs(output).max()) for output in first),
        "moved": moved,
        "activation_max": float(peaks.get(worst, 0.0)),
        "activation": worst.removeprefix("largest of "),
    }


def judged(row: dict[str, Any]) -> str:
    """What is wrong with a network's ``row``; empty if nothing is."""
    wrong = []
    if not row["finite"]:
        wrong.append("not finite")
    if row["moved"] < 1e-3:
        wrong.append("constant")
    if row["activation_max"] > FLOAT16_BAR:
        wrong.append("beyond float16")
    if not 0.01 < row["output_std"] < OUTPUT_BAR:
        wrong.append("output out of scale")
    return ", ".join(wrong)


def imported(name: str) -> dict[str, Any]:
    """Whether TVM's front end takes the network, and what it says if not."""
    from tvm.relax.frontend.onnx import from_onnx

    start, said = time.perf_counter(), ""
    try:
        from_onnx(zoo.build(name))
    except Exception as error:  # noqa: BLE001 - what the front end raises is not documented
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return {"network": name, "seconds": time.perf_counter() - start, "wrong": said}


def main() -> None:
    args = arguments(__doc__, tvm=0, only="")
    print(machine())
    rows = []
    names = args.only.split(",") if args.only else zoo.list()[:: 8 if args.quick else 1]
    for name in names:
        if args.tvm:
            row = imported(name)
            print(f"{name:28} {row['seconds']:6.1f} s  {row['wrong'] or 'imported'}", flush=True)
        else:
            row = run(name)
            row["wrong"] = judged(row)
            print(f"{name:28} output {row['output_std']:9.3g} max {row['output_max']:9.3g}  inside"
                  f" {row['activation_max']:9.3g} at {row['activation']:28} {row['wrong']}",
                  flush=True)  # fmt: skip
        rows.append(row)
        save(args.json, rows)
    print(f"{sum(not row['wrong'] for row in rows)} of {len(rows)} networks pass")


if __name__ == "__main__":
    main()
