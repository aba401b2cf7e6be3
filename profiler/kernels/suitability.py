"""What can be cut out, and what that takes: checks and facts of a description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.kernels.emitting import parameters_of
from lwprof.profiler.kernels.schemas import lowest_opset
from lwprof.profiler.kernels.values import REFERENCE_OPSET, product, split_type

LAYOUT_TYPES = ("ReorderInput", "ReorderOutput")

_MAX_BYTES = 2**31 - 2**20  # a protobuf message holds less than 2 GiB


def opset_of(description: Mapping[str, Any]) -> int:
    """The lowest opset, from the reference on, that can express the kernel."""
    if description.get("opset"):
        return int(description["opset"])
    needed = [REFERENCE_OPSET]
    for i, op in enumerate(description["op_types"]):
        if split_type(op)[0] or op in LAYOUT_TYPES:
            continue
        needed.append(lowest(description, i))
    return max(needed)


def lowest(description: Mapping[str, Any], i: int) -> int:
    """The opset that operator ``i`` needs, as it will be written."""
    op = description["op_types"][i]
    # Parameters that are attributes in a description become inputs.
    spelled = frozenset(description["attributes"][i]) - {"captured"} - parameters_of(op)
    inputs = tuple(_dtype_of(description, edge) for edge in description["edges"][i])
    made = dict(zip(description["results"], description["outputs"], strict=True))
    outputs = tuple(
        spec["dtype"] if (spec := made.get(f"{i}.{j}")) and spec.get("kind") is None else None
        for j in range(len(made))
    )
    return lowest_opset(op, inputs, outputs, spelled)


def _dtype_of(description: Mapping[str, Any], reference: str) -> str | None:
    if reference.startswith("i"):
        spec = description["inputs"][int(reference[1:])]
        return spec["dtype"] if spec.get("kind", "tensor") == "tensor" else None
    return description["dtype"] if reference else None


def check_cuttable(description: Mapping[str, Any], copies: int) -> None:
    """Raises unless a model of ``copies`` of this kernel can be written.

    Raises:
        ModelError: shapes are unknown, nothing is computed from inputs, or it is too large.
    """
    idle = all(spec["constant"] for spec in description["inputs"])
    if description["op_types"] in (["Shape"], ["Size"]) or (idle and not _is_random(description)):
        raise ModelError(
            f"the kernel {'+'.join(description['op_types'])} reads nothing that changes: alone, "
            "a runtime would compute it once, when it loads the model"
        )
    total = 0
    for spec in description["outputs"]:
        if spec["shape"] is None or spec["dtype"] is None:
            raise _unknown(description, "outputs")
    for spec in description["inputs"]:
        shape = spec["shape"]
        if shape is None or None in shape or spec["dtype"] is None:
            raise _unknown(description, "inputs")
        if spec["constant"]:
            total += nbytes(spec["dtype"], product(shape)) or 0
        elif (nbytes(spec["dtype"], product(shape)) or 0) > _MAX_BYTES:
            raise ModelError(f"an input of shape {shape} is too large to be measured")
    if total * copies > _MAX_BYTES:
        raise ModelError(
            f"{copies} copies of this kernel have {total * copies / 2**30:.1f} GiB of weights, "
            "more than an ONNX file holds: ask for fewer copies"
        )


def _unknown(description: Mapping[str, Any], what: str) -> ModelError:
    return ModelError(
        f"the kernel {'+'.join(description['op_types'])} has {what} of unknown shape: "
        "it cannot be cut out of its model"
    )


def _is_random(description: Mapping[str, Any]) -> bool:
    return any(op in ("RandomNormal", "RandomUniform") for op in description["op_types"])


def check_chain(description: Mapping[str, Any]) -> None:
    """Raises unless the kernel's first output can be its first input.

    Raises:
        ModelError: their shapes or types differ.
    """
    first = chained_input(description)
    outputs = description["outputs"]
    fits = (
        first is not None
        and outputs
        and outputs[0]["shape"] == description["inputs"][first]["shape"]
        and outputs[0]["dtype"] == description["inputs"][first]["dtype"]
    )
    if not fits:
        raise ModelError(
            f"the kernel {'+'.join(description['op_types'])} cannot be chained: its output does "
            "not have its input's shape and type; use topology 'parallel'"
        )


def can_chain(description: Mapping[str, Any]) -> bool:
    """True if the kernel's output can be its own input."""
    try:
        check_chain(description)
    except ModelError:
        return False
    return True


def chained_input(description: Mapping[str, Any]) -> int | None:
    """The input that a copy in a chain takes from the copy before."""
    return next((i for i, spec in enumerate(description["inputs"]) if not spec["constant"]), None)


def added_to_convolution(description: Mapping[str, Any]) -> frozenset[int]:
    """Inputs that are added to the result of a float convolution inside the kernel."""
    found = set()
    for i, op in enumerate(description["op_types"]):
        edge = description["edges"][i]
        behind = [r for r in edge if r.endswith(".0") and not r.startswith("i")]
        if op != "Add" or not any(_is_convolution(description, r) for r in behind):
            continue
        for reference in edge:
            if reference.startswith("i"):
                spec = description["inputs"][int(reference[1:])]
                shape = spec["shape"]
                if not spec["constant"] and len(shape) == 4 and spec["dtype"] == "float32":
                    found.add(int(reference[1:]))
    return frozenset(found)


def _is_convolution(description: Mapping[str, Any], reference: str) -> bool:
    return bool(description["op_types"][int(reference.split(".")[0])] == "Conv")
