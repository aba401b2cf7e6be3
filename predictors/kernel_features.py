"""What a workload costs physically: counted from its description alone.

Counts are of one execution. Inner values of fused kernels are not in a description, so a fused
convolution's output is taken from its own shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats

BYTES = {"float64": 8, "int64": 8, "uint64": 8, "float16": 2, "bfloat16": 2, "int16": 2,
         "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}  # fmt: skip
_PRODUCTS = frozenset({"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "MatMulInteger"})
_MOVES = frozenset(
    {"Concat", "Transpose", "Reshape", "Flatten", "Split", "Slice", "Pad", "ReorderInput",
     "ReorderOutput", "Gather", "Squeeze", "Unsqueeze", "Identity", "Expand", "Resize",
     "Upsample", "DepthToSpace", "SpaceToDepth", "Tile", "Cast"}
)  # fmt: skip
_POOLS = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum",
     "ReduceMax"}
)  # fmt: skip
LANES = (4, 8, 16, 32, 64, 128)
"""Widths at which vector units and tiles leave remainders, in channels or positions."""


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """A workload as numbers.

    Attributes:
        kind: operator types, with dense, pointwise, depthwise or grouped for convolutions.
        family: kernels that share their physics, whatever is fused behind them: ``dense``,
            ``pointwise``, ``depthwise``, ``grouped``, ``product``, ``pool``, ``move``,
            ``element``.
        macs, bytes_moved, elements: multiply-accumulates, bytes read and written, outputs.
        cin, cout, positions, kernel, stride, dilation, groups, side: of the first operator;
            1 where it has none.
        weights: elements of constant inputs.
        operators: how many are fused.
        run: elements that lie side by side both where they are read and where they are written;
            1 where every element is fetched for itself.
    """

    kind: str
    macs: float
    bytes_moved: float
    elements: float
    weights: float
    inputs: float
    cin: float
    cout: float
    positions: float
    kernel: float
    stride: float
    dilation: float
    groups: float
    padding: float
    operators: float
    family: str
    run: float


NAMES = (
    "macs", "bytes", "elements", "weights", "inputs", "cin", "cout", "positions", "kernel",
    "stride", "dilation", "groups", "padding", "operators", "intensity", "reduction",
    *(f"cout_waste_{n}" for n in LANES), *(f"cin_waste_{n}" for n in LANES[:4]),
    *(f"positions_waste_{n}" for n in LANES[2:]), "run", "pointwise", "three_by_three", "blocked_8",
    "blocked_16",
)  # fmt: skip


def facts(workload: Any) -> KernelFacts:
    """The facts of a workload (:class:`lwprof.profiler.kernels.Workload`) or its description.

    Raises:
        UsageError: the description lacks shapes.
    """
    found: Mapping[str, Any] = workload if isinstance(workload, Mapping) else workload.description
    shapes = [value["shape"] for value in (*found["inputs"], *found["outputs"])]
    if any(s is None or any(e is None for e in s) for s in shapes) or not found["outputs"]:
        raise UsageError(f"{'+'.join(found['op_types'])}: its shapes are not all known, so "
                         "nothing can be predicted: fix the model's input shapes")  # fmt: skip
    size = BYTES.get(found["dtype"] or "float32", 4)
    given = sum(math.prod(v["shape"]) for v in found["inputs"] if not v["constant"])
    weights = sum(math.prod(v["shape"]) for v in found["inputs"] if v["constant"])
    made = sum(math.prod(v["shape"]) for v in found["outputs"])
    return _facts(found, size * float(given + weights + made), float(given), float(weights),
                  float(made))  # fmt: skip


def _facts(
    found: Mapping[str, Any], moved: float, given: float, weights: float, made: float
) -> KernelFacts:
    op, attributes = found["op_types"][0], found["attributes"][0]
    out = found["outputs"][0]["shape"]
    first = found["inputs"][0]["shape"] if found["inputs"] else out
    matrix = found["inputs"][1]["shape"] if len(found["inputs"]) > 1 else None
    kind, macs, family = "+".join(found["op_types"]), 0.0, _family(op)
    cin, cout = float(_at(first, 1)), float(_at(out, 1))
    positions = float(math.prod(out[2:]) * (out[0] if out else 1))
    kernel = math.prod(attributes.get("kernel_shape", [1]))
    groups = float(attributes.get("group", 1))
    if op in ("Conv", "FusedConv", "ConvInteger") and matrix is not None and len(matrix) > 2:
        cin, cout, kernel = matrix[1] * groups, float(matrix[0]), math.prod(matrix[2:])
        positions = _positions(first, matrix, attributes)
        macs = cout * positions * matrix[1] * kernel
        family = _convolution(cin, cout, groups, kernel)
        kind += ":" + family
    elif op in ("MatMul", "Gemm", "FusedMatMul", "FusedGemm") and matrix is not None:
        reduced = float(first[0] if attributes.get("transA") else first[-1])
        cin, cout = reduced, float(_at(out, -1))
        positions = math.prod(out) / max(cout, 1)
        macs = math.prod(out) * reduced
    return KernelFacts(
        kind, macs, moved, made, weights, given, max(cin, 1), max(cout, 1), max(positions, 1),
        float(max(kernel, 1)), float(max([1, *attributes.get("strides", [])])),
        float(max([1, *attributes.get("dilations", [])])), groups,
        float(max([0, *attributes.get("pads", [])])), float(len(found["op_types"])), family,
        _run(op, first, out, attributes),
    )  # fmt: skip


def _family(op: str) -> str:
    op = op.rsplit(".", 1)[-1].rsplit(":", 1)[-1]
    return ("product" if op in _PRODUCTS else "move" if op in _MOVES
            else "pool" if op in _POOLS else "element")  # fmt: skip


def _run(op: str, first: Sequence[int], out: Sequence[int], attributes: Mapping[str, Any]) -> float:
    """Elements copied in one piece by operators that rearrange their input."""
    if op == "Transpose":
        order = list(attributes.get("perm", range(len(first))[::-1]))
        kept = len(order)
        while kept and order[kept - 1] == kept - 1:
            kept -= 1
        return float(math.prod(first[kept:]))
    if op == "Concat":
        axis = attributes.get("axis", 1) % max(len(out), 1)
        return float(math.prod(first[axis:]))
    if op == "Split":
        return float(math.prod(out[attributes.get("axis", 0) % max(len(out), 1) :]))
    if op in ("Slice", "Pad", "Gather"):
        same = 0
        while same < min(len(first), len(out)) and first[-1 - same] == out[-1 - same]:
            same += 1
        return float(math.prod(out[len(out) - same :]) * (out[-1 - same] if same < len(out) else 1))
    return 1.0 if op.startswith("Reorder") else float(math.prod(out))


def _at(shape: Sequence[int], place: int) -> int:
    return shape[place] if -len(shape) <= place < len(shape) else 1


def _positions(first: Sequence[int], matrix: Sequence[int], attributes: Mapping[str, Any]) -> float:
    """Batch times output positions of a convolution, from its input's shape and attributes."""
    spatial = len(matrix) - 2
    pads = attributes.get("pads", [0] * 2 * spatial)
    strides = attributes.get("strides", [1] * spatial)
    dilations = attributes.get("dilations", [1] * spatial)
    count = float(first[0])
    for i in range(spatial):
        reach = dilations[i] * (matrix[2 + i] - 1) + 1
        count *= max(1, (first[2 + i] + pads[i] + pads[i + spatial] - reach) // strides[i] + 1)
    return count


def _convolution(cin: float, cout: float, groups: float, kernel: int) -> str:
    if groups > 1:
        return "depthwise" if groups == cin else "grouped"
    return "pointwise" if kernel == 1 else "dense"


def matrix(all_facts: Sequence[KernelFacts]) -> Floats:
    """(n, len(NAMES)) features: logs of counts and of what lanes waste, and flags."""
    rows = []
    for f in all_facts:
        reduction = max(f.macs / max(f.cout * f.positions, 1), 1)
        logs = [
            f.macs + 1, f.bytes_moved + 1, f.elements + 1, f.weights + 1, f.inputs + 1, f.cin,
            f.cout, f.positions, f.kernel, f.stride, f.dilation, f.groups, f.padding + 1,
            f.operators, f.macs / max(f.bytes_moved, 1) + 1, reduction,
            *(_waste(f.cout, n) for n in LANES), *(_waste(f.cin, n) for n in LANES[:4]),
            *(_waste(f.positions, n) for n in LANES[2:]), f.run,
        ]  # fmt: skip
        # Runtimes keep channels in blocks of 8 or 16 where their number allows it, and fall back
        # to a slow path where it does not.
        blocked = [float(f.cin % n == 0 and f.cout % n == 0) for n in (8, 16)]
        flags = [float(f.kernel == 1), float(f.kernel == 9 and f.stride == 1), *blocked]
        rows.append([*np.log(np.maximum(logs, 1.0)), *flags])
    return np.array(rows).reshape(len(rows), len(NAMES))


PLAIN = tuple(NAMES.index(name) for name in (*NAMES[:16], "run"))
"""Columns of ``matrix`` that trees look at: they find steps of their own accord."""


def _waste(count: float, lanes: int) -> float:
    """How much is computed over what is asked for when work comes in multiples of ``lanes``."""
    return math.ceil(count / lanes) * lanes / count
