"""Removing channels from a model, with all shapes right; and masking them, to compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from lwprof.compression.graph.dependencies import NONE, Channels

GATES = "gates"


def remove_channels(found: Channels, kept: Any) -> Any:
    """The model without the channels that are not kept.

    Args:
        found: what ``channels`` returned.
        kept: (units,) of bool; at least one unit of each group.

    Returns:
        an ``onnx.ModelProto``; outputs equal those of ``mask_channels``.

    Raises:
        UsageError: the mask does not fit, or empties a group.
    """
    mask = found.check(kept)
    model = onnx.ModelProto()
    model.CopyFrom(found.graph.proto)
    del model.graph.value_info[:]
    _cut_tensors(model, found, mask)
    for node in list(model.graph.node):
        if node.name in found.depthwise:
            _set_group(node, found, mask)
        for place in (1, 3):
            target = found.resized.get((node.name, place))
            if target is not None:
                _set_extents(model, node, place, target, found, mask)
    return model


def mask_channels(found: Channels, kept: Any) -> Any:
    """The model with the removed channels set to nought wherever something reads them.

    Every operator that sums over channels reads its input through a mask of ones and noughts;
    weights stay as they are. This is what ``remove_channels`` must equal, made another way.

    Raises:
        UsageError: the mask does not fit, or empties a group.
    """
    mask = found.check(kept)
    model = gate_channels(found)
    del model.graph.input[-1]
    stored = numpy_helper.from_array(np.append(mask, True).astype(np.float32), GATES)
    model.graph.initializer.append(stored)
    return model


def gate_channels(found: Channels) -> Any:
    """The model with one more input ``gates``, (units + 1,), that its channels are scaled by.

    The last gate belongs to what cannot be removed and must be 1.
    """
    model = onnx.ModelProto()
    model.CopyFrom(found.graph.proto)
    del model.graph.value_info[:]
    nodes: list[Any] = []
    made: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            for place, source in enumerate(node.input):
                units = found.values.get(source)
                if units is None or (units == NONE).all():
                    continue
                if source not in made:
                    nodes.extend(
                        _gating(model, source, np.where(units == NONE, found.units, units))
                    )
                    made[source] = nodes[-1].output[0]
                node.input[place] = made[source]
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    model.graph.input.append(onnx.helper.make_tensor_value_info(GATES, 1, [found.units + 1]))
    return model


def _gating(model: Any, source: str, index: Any) -> list[Any]:
    name = f"{source}.gate"
    stored = numpy_helper.from_array(index.astype(np.int64), f"{name}.index")
    model.graph.initializer.append(stored)
    pick = onnx.helper.make_node("Gather", [GATES, f"{name}.index"], [name], name=name)
    return [pick, onnx.helper.make_node("Mul", [source, name], [f"{name}d"], name=f"{name}d")]


def _cut_tensors(model: Any, found: Channels, mask: Any) -> None:
    axes: dict[str, list[int]] = {}
    for (name, axis), units in found.slots.items():
        if (units != NONE).any():
            axes.setdefault(name, []).append(axis)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in axes:
            stored[node.output[0]] = next(a.t for a in node.attribute if a.name == "value")
    for name, places in axes.items():
        array = numpy_helper.to_array(stored[name])
        for axis in places:
            array = array.compress(found.survivors(found.slots[name, axis], mask), axis)
        stored[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))


def extents(found: Channels, value: str, mask: Any) -> list[int]:
    """The shape of a value after the removal."""
    units, tensor = found.values[value], found.graph.tensors[value]
    shape = [int(extent or 0) for extent in tensor.shape or ()]
    for axis in range(len(shape)):
        if units.shape[axis] > 1:
            others = tuple(slice(None) if i == axis else 0 for i in range(len(shape)))
            shape[axis] = int(found.survivors(units[others], mask).sum())
    return shape


def _set_group(node: Any, found: Channels, mask: Any) -> None:
    width = extents(found, found.depthwise[node.name], mask)[1]
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = width


def _set_extents(
    model: Any, node: Any, place: int, target: str, found: Channels, mask: Any
) -> None:
    if target == "slice":
        _set_bounds(model, node, found, mask)
        return
    if target != "split":
        sizes = extents(found, target, mask)
    else:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        sizes = [extents(found, name, mask)[axis] for name in node.output]
        kept = [a for a in node.attribute if a.name not in ("split", "num_outputs")]
        had = len(kept) != len(node.attribute) and any(a.name == "split" for a in node.attribute)
        copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
        del node.attribute[:]
        node.attribute.extend(copies)
        if had:
            node.attribute.append(onnx.helper.make_attribute("split", sizes))
            return
    _put_integers(model, node, place, sizes)


def _set_bounds(model: Any, node: Any, found: Channels, mask: Any) -> None:
    stored = {tensor.name: tensor for tensor in found.graph.proto.graph.initializer}
    for other in found.graph.proto.graph.node:
        if other.op_type == "Constant":
            stored[other.output[0]] = next(
                (a.t for a in other.attribute if a.name == "value"), None
            )
    bounds = [numpy_helper.to_array(stored[name]).tolist() for name in node.input[1:] if name]
    units, shape = found.values[node.input[0]], found.graph.tensors[node.input[0]].shape or ()
    axes = [a % len(shape) for a in (bounds[2] if len(bounds) > 2 else range(len(bounds[0])))]
    starts, stops = list(bounds[0]), list(bounds[1])
    for i, axis in enumerate(axes):
        if units.shape[axis] > 1:
            low, high, _ = slice(starts[i], stops[i]).indices(int(shape[axis] or 0))
            others = tuple(slice(None) if j == axis else 0 for j in range(len(shape)))
            kept = found.survivors(units[others], mask)
            starts[i], stops[i] = int(kept[:low].sum()), int(kept[:high].sum())
    _put_integers(model, node, 1, starts)
    _put_integers(model, node, 2, stops)


def _put_integers(model: Any, node: Any, place: int, numbers: list[int]) -> None:
    name = f"{node.name}.extents.{place}"
    array = np.array(numbers, dtype=np.int64)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    while len(node.input) <= place:
        node.input.append("")
    node.input[place] = name
