"""Bodies of If, Loop and Scan, rebuilt from their descriptions; the inverse of ``bodies``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.kernels import filling
from lwprof.profiler.kernels.values import product, split_type

_MAX_LIST = 10_000_000
_MAX_ELEMENTS = 2**29


def decoded_attributes(
    attributes: Mapping[str, Any], outer: list[str], prefix: str, rng: np.random.Generator
) -> dict[str, Any]:
    """Attributes as ``onnx.helper.make_node`` takes them.

    Args:
        attributes: of a description.
        outer: names that bodies capture, by their number.
        prefix: begins every name made here, so that names stay unique.
        rng: where weights inside attributes come from.

    Raises:
        ModelError: an attribute was too large to be kept in the description.
    """
    return {
        name: _decoded(value, outer, f"{prefix}_{name}", rng) for name, value in attributes.items()
    }


def _decoded(value: Any, outer: list[str], prefix: str, rng: np.random.Generator) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "body" in value:
        return _graph(value["body"], outer, prefix, rng)
    if "tensor" in value:
        return stored(value["tensor"], prefix, rng)
    if int(value.get("floats", 0)) > _MAX_LIST or int(value.get("strings", 0)) > _MAX_LIST:
        raise ModelError("the kernel has an attribute of more elements than can be written")
    if "floats" in value:
        return rng.uniform(0.5, 1.5, int(value["floats"])).tolist()
    if "strings" in value:
        return [f"s{i}" for i in range(int(value["strings"]))]
    raise ModelError("the kernel has an attribute that its description could not hold")


def stored(spec: Mapping[str, Any], name: str, rng: np.random.Generator) -> Any:
    """A ``TensorProto`` with the values of ``spec``, or random ones where it has none."""
    dtype, shape = str(spec["dtype"]), tuple(spec["shape"])
    if dtype not in NUMBERS:
        raise ModelError(f"a kernel with constants of type {dtype} cannot be cut out")
    if any(extent < 0 for extent in shape) or product(shape) > _MAX_ELEMENTS:
        raise ModelError(f"a constant of shape {list(shape)} cannot be written")
    if spec.get("values") is not None:
        kind = onnx.helper.tensor_dtype_to_np_dtype(NUMBERS[dtype])
        if len(spec["values"]) != product(shape):
            raise ModelError("workload description cannot be used: values do not fit their shape")
        array = np.array(spec["values"]).astype(kind).reshape(shape)
    else:
        array = filling.constant("", 0, dtype, shape, rng)
    return tensor(array, name, dtype)


def tensor(array: np.ndarray[Any, Any], name: str, dtype: str | None = None) -> Any:
    """An array as an initialiser."""
    if dtype == "string" or array.dtype == object:
        texts = [str(text) for text in array.reshape(-1)]
        return onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, texts)
    return onnx.numpy_helper.from_array(array, name)


def typed(name: str, spec: Mapping[str, Any]) -> Any:
    """A ``ValueInfoProto`` for a tensor, a sequence of tensors or an optional tensor."""
    dtype, shape, kind = spec["dtype"], spec["shape"], spec.get("kind", "tensor")
    if dtype is None or dtype not in NUMBERS:
        if dtype is None and kind == "tensor":
            return onnx.helper.make_empty_tensor_value_info(name)
        raise ModelError(f"a kernel that works on {kind}s of {dtype} cannot be cut out")
    inner = onnx.helper.make_tensor_type_proto(NUMBERS[dtype], shape)
    if kind == "sequence":
        inner = onnx.helper.make_sequence_type_proto(inner)
    elif kind == "optional":
        inner = onnx.helper.make_optional_type_proto(inner)
    elif kind != "tensor":
        raise ModelError(f"a kernel that works on a {kind} cannot be cut out")
    return onnx.helper.make_value_info(name, inner)


def _graph(body: Mapping[str, Any], outer: list[str], prefix: str, rng: np.random.Generator) -> Any:
    names = {f"o{i}": name for i, name in enumerate(outer)}
    inputs = []
    for i, spec in enumerate(body["inputs"]):
        names[f"i{i}"] = f"{prefix}_i{i}"
        inputs.append(typed(names[f"i{i}"], spec))
    constants = []
    for i, spec in enumerate(body["constants"]):
        names[f"c{i}"] = f"{prefix}_c{i}"
        constants.append(stored(spec, names[f"c{i}"], rng))
    nodes = []
    for k, node in enumerate(body["nodes"]):
        results = []
        for j, present in enumerate(node["outputs"]):
            names[f"{k}.{j}"] = f"{prefix}_{k}_{j}" if present else ""
            results.append(names[f"{k}.{j}"])
        domain, kind = split_type(node["op"])
        captured = [_named(names, reference) for reference in node.get("captured", ())]
        nodes.append(
            onnx.helper.make_node(
                kind,
                [_named(names, reference) for reference in node["inputs"]],
                results,
                name=f"{prefix}_{k}",
                domain=domain,
                **decoded_attributes(node["attributes"], captured, f"{prefix}_{k}", rng),
            )
        )
    return _with_outputs(body, names, prefix, nodes, inputs, constants)


def _with_outputs(
    body: Mapping[str, Any],
    names: Mapping[str, str],
    prefix: str,
    nodes: list[Any],
    inputs: list[Any],
    constants: list[Any],
) -> Any:
    outputs, taken = [], set[str]()
    for spec in body["outputs"]:
        name = _named(names, spec["from"])
        if name in taken:
            raise ModelError("a kernel whose body gives one value twice cannot be cut out")
        taken.add(name)
        outputs.append(typed(name, {k: v for k, v in spec.items() if k != "from"}))
    return onnx.helper.make_graph(nodes, prefix, inputs, outputs, constants)


def _named(names: Mapping[str, str], reference: str) -> str:
    if reference == "":
        return ""
    if reference not in names:
        raise ModelError("workload description cannot be used: a body refers to nothing")
    return names[reference]
