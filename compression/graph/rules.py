"""How each kind of operator carries, joins or fixes the labels of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.compression.graph.labels import (
    FIXED,
    expanded,
    reshaped,
    same_elements,
    squeezed,
    varying,
)  # fmt: skip
from lwprof.compression.graph.walk import Walk

Rule = Callable[[Walk, Any], None]

UNARY = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "ThresholdedRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Softplus",
        "Softsign",
        "Clip",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "Floor",
        "Ceil",
        "Round",
        "Reciprocal",
        "Sign",
        "Cast",
        "Identity",
        "Dropout",
        "Gelu",
        "Mish",
        "Swish",
        "Not",
        "Sin",
        "Cos",
        "QuickGelu",
    }
)
POOLING = frozenset(
    {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
)
JOINING = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "PRelu",
        "Mod",
        "Equal",
        "Less",
        "Greater",
    }
)
ACROSS = "it mixes channels in a way that depends on how many there are"


def unary(walk: Walk, node: Any) -> None:
    """One output per input element."""
    walk.set(node.output[0], walk.label(node.input[0]))


def pooling(walk: Walk, node: Any) -> None:
    """Works on the axes behind the second."""
    labels = walk.label(node.input[0])
    if any(axis > 1 for axis in varying(labels)):
        walk.refuse(node, "it pools along the axis of the channels")
        return
    walk.set(node.output[0], labels)


def convolution(walk: Walk, node: Any) -> None:
    """Conv: reads channels, makes new ones; a depthwise one passes them on."""
    source, weight = node.input[0], node.input[1]
    labels, groups = walk.label(source), int(walk.attributes(node).get("group", 1))
    if not walk.is_stored(weight) or any(axis != 1 for axis in varying(labels)):
        walk.refuse(node, "its weights are computed, or its channels are not on the second axis")
        return
    filters, per_group = walk.stored_shape(weight)[:2]
    given = expanded(labels, 1, per_group * groups).reshape(-1)
    if groups > 1 and per_group == 1:
        made = np.repeat(given, filters // groups)
        walk.depthwise[node.name] = source
    elif groups > 1:
        rows = given.reshape(groups, per_group)
        walk.labels.join(rows, rows[:1])
        walk.slot(weight, 1, rows[0])
        made = np.tile(walk.labels.new(filters // groups), groups)
        walk.makers[node.name] = made
    else:
        walk.slot(weight, 1, given)
        made = walk.labels.new(filters)
        walk.makers[node.name] = made
    walk.slot(weight, 0, made)
    _bias(walk, node, 2, made)
    rank = len(walk.stored_shape(weight))
    walk.set(node.output[0], made.reshape(1, -1, *([1] * (rank - 2))))


def transposed_convolution(walk: Walk, node: Any) -> None:
    """ConvTranspose without groups: the weight's first axis is the input's."""
    source, weight = node.input[0], node.input[1]
    labels, groups = walk.label(source), int(walk.attributes(node).get("group", 1))
    if not walk.is_stored(weight) or groups > 1 or any(axis != 1 for axis in varying(labels)):
        walk.refuse(node, "a transposed convolution with groups or computed weights")
        return
    shape = walk.stored_shape(weight)
    walk.slot(weight, 0, expanded(labels, 1, shape[0]).reshape(-1))
    made = walk.labels.new(shape[1])
    walk.makers[node.name] = made
    walk.slot(weight, 1, made)
    _bias(walk, node, 2, made)
    walk.set(node.output[0], made.reshape(1, -1, *([1] * (len(shape) - 2))))


def gemm(walk: Walk, node: Any) -> None:
    """Gemm: a dense layer on rows."""
    found = walk.attributes(node)
    labels, weight = walk.label(node.input[0]), node.input[1]
    if not walk.is_stored(weight) or found.get("transA", 0) or 0 in varying(labels):
        walk.refuse(node, "its weights are computed, or its input is transposed")
        return
    read, make = (1, 0) if found.get("transB", 0) else (0, 1)
    shape = walk.stored_shape(weight)
    walk.slot(weight, read, expanded(labels, 1, shape[read]).reshape(-1))
    made = walk.labels.new(shape[make])
    walk.makers[node.name] = made
    walk.slot(weight, make, made)
    _bias(walk, node, 2, made)
    walk.set(node.output[0], made.reshape(1, -1))


def product(walk: Walk, node: Any) -> None:
    """MatMul: with a stored matrix a dense layer, else the product of two activations."""
    left, right = node.input
    if walk.is_stored(left):
        walk.refuse(node, "a stored matrix multiplies from the left")
        return
    labels = walk.label(left)
    if walk.is_stored(right) and len(walk.stored_shape(right)) == 2:
        rank = labels.ndim
        if any(axis != rank - 1 for axis in varying(labels)):
            walk.refuse(node, "its channels are not on the last axis")
            return
        shape = walk.stored_shape(right)
        walk.slot(right, 0, expanded(labels, rank - 1, shape[0]).reshape(-1))
        made = walk.labels.new(shape[1])
        walk.makers[node.name] = made
        walk.slot(right, 1, made)
        walk.set(node.output[0], made.reshape(*([1] * (rank - 1)), -1))
        return
    _two_activations(walk, node)


def _two_activations(walk: Walk, node: Any) -> None:
    a, b = (walk.label(name) for name in node.input)
    if a.ndim != b.ndim or a.ndim < 3 or any(walk.is_stored(name) for name in node.input):
        walk.refuse(node, "a product of activations of different ranks")
        return
    last = a.ndim - 1
    if {last - 1, last} & (set(varying(a)) | set(varying(b))):
        if set(varying(a)) <= {last} and set(varying(b)) <= {last - 1}:
            # The summed axis: both sides lose the same indices, the result keeps its shape.
            walk.labels.join(a.reshape(-1), b.reshape(-1))
            walk.set(node.output[0], np.full([1] * a.ndim, FIXED))
            return
        walk.refuse(node, "channels lie on an axis of a product of activations")
        return
    walk.labels.join(a, b)
    walk.set(node.output[0], a if a.size >= b.size else b)


def _bias(walk: Walk, node: Any, place: int, made: Any) -> None:
    if len(node.input) <= place or not node.input[place]:
        return
    name = node.input[place]
    if not walk.is_stored(name):
        walk.labels.fix(made, f"{node.name}: its bias is computed")
        return
    shape = walk.stored_shape(name)
    if shape and shape[-1] == len(made):
        walk.slot(name, len(shape) - 1, made)


def normalisation(walk: Walk, node: Any) -> None:
    """BatchNormalization and InstanceNormalization: numbers per channel."""
    labels = walk.label(node.input[0])
    given = [name for name in node.input[1:] if name]
    if any(axis != 1 for axis in varying(labels)) or not all(map(walk.is_stored, given)):
        walk.refuse(node, "its channels are not on the second axis")
        return
    for name in given:
        walk.slot(name, 0, expanded(labels, 1, walk.stored_shape(name)[0]).reshape(-1))
    walk.set(node.output[0], labels)


def joining(walk: Walk, node: Any) -> None:
    """Elementwise operators of several inputs, with broadcasting."""
    shape = walk.shape(node.output[0])
    if shape is None:
        walk.refuse(node, "its shape is unknown")
        return
    rank, found = len(shape), None
    for name in node.input:
        if not walk.is_stored(name):
            mine = _aligned(walk.label(name), rank)
            extents = [1] * (rank - len(walk.shape(name) or ())) + list(walk.shape(name) or ())
            if found is None:
                found = (mine, extents)
            else:
                found = _joined(walk, node, found, (mine, extents))
            if found is None:
                return
    if found is None:
        return
    labels = found[0]
    for name in node.input:
        if walk.is_stored(name):
            _tie_constant(walk, node, name, labels, rank)
    walk.set(node.output[0], labels)


def _joined(walk: Walk, node: Any, first: Any, second: Any) -> Any | None:
    (a, sa), (b, sb) = first, second
    out = [max(x, y) for x, y in zip(sa, sb, strict=True)]
    if varying(b) and not varying(a):
        (a, sa), (b, sb) = second, first
    axes = set(varying(a))
    if not varying(b):
        # Repeated along the channels, the other has none of its own.
        if not axes or any(sb[axis] != 1 for axis in axes):
            walk.labels.join(a, b, f"{node.name} ({node.op_type}) joins it with what is fixed")
        return a, out
    if axes != set(varying(b)):
        walk.refuse(node, "its inputs have channels on different axes")
        return None
    if any(sa[axis] != sb[axis] for axis in axes):
        walk.refuse(node, "its inputs have channels of different number")
        return None
    walk.labels.join(a, b)
    return a, out


def _tie_constant(walk: Walk, node: Any, name: str, labels: Any, rank: int) -> None:
    shape = walk.stored_shape(name)
    offset = rank - len(shape)
    for axis, extent in enumerate(shape):
        if extent > 1:
            place = axis + offset
            index = tuple(slice(None) if i == place else 0 for i in range(rank))
            many = labels.shape[place] > 1
            walk.slot(name, axis, labels[index] if many else FIXED)


def _aligned(labels: Any, rank: int) -> Any:
    return labels.reshape([1] * (rank - labels.ndim) + list(labels.shape))


def concatenation(walk: Walk, node: Any) -> None:
    """Concat: channels side by side, or the same channels of several pieces."""
    shape = walk.shape(node.output[0])
    if shape is None:
        walk.refuse(node, "its shape is unknown")
        return
    axis = int(walk.attributes(node).get("axis", 1)) % len(shape)
    pieces = []
    for name in node.input:
        extents = walk.stored_shape(name) if walk.is_stored(name) else walk.shape(name)
        labels = np.full([1] * len(shape), FIXED) if walk.is_stored(name) else walk.label(name)
        if extents is None or (set(varying(labels)) - {axis} and axis in varying(labels)):
            walk.refuse(node, "its inputs' channels lie on several axes")
            return
        pieces.append((name, labels, extents))
    others = {a for _, labels, _ in pieces for a in varying(labels)} - {axis}
    if not others:
        parts = [expanded(labels, axis, extents[axis]) for _, labels, extents in pieces]
        walk.set(node.output[0], np.concatenate(parts, axis))
        return
    _stacked(walk, node, pieces, axis)


def _stacked(walk: Walk, node: Any, pieces: list[Any], axis: int) -> None:
    lead = next(labels for _, labels, _ in pieces if varying(labels))
    for name, labels, _ in pieces:
        if walk.is_stored(name):
            _tie_constant(walk, node, name, lead, lead.ndim)
        elif set(varying(labels)) - set(varying(lead)):
            walk.refuse(node, "its inputs' channels lie on several axes")
            return
        else:
            walk.labels.join(lead, labels)
    walk.set(node.output[0], lead)


def splitting(walk: Walk, node: Any) -> None:
    """Split: each output has its share of the channels."""
    labels, shape = walk.label(node.input[0]), walk.shape(node.input[0])
    if shape is None:
        walk.refuse(node, "its shape is unknown")
        return
    axis = int(walk.attributes(node).get("axis", 0)) % len(shape)
    start = 0
    for name in node.output:
        made = walk.shape(name)
        if made is None:
            walk.refuse(node, "its shape is unknown")
            return
        if labels.shape[axis] > 1:
            walk.set(name, labels.take(range(start, start + made[axis]), axis))
        else:
            walk.set(name, labels)
        start += made[axis]
    if labels.shape[axis] > 1:
        walk.resized[node.name, 1] = "split"


def slicing(walk: Walk, node: Any) -> None:
    """Slice with stored bounds."""
    labels, shape = walk.label(node.input[0]), walk.shape(node.input[0])
    bounds = [walk.array(name) for name in node.input[1:] if name]
    if shape is None or not varying(labels):
        if shape is not None:
            walk.set(node.output[0], labels)
        return
    known: list[Any] = [bound for bound in bounds if bound is not None]
    if len(known) < 2 or len(known) < len(bounds):
        walk.refuse(node, "its bounds are computed")
        return
    axes = [int(a) % len(shape) for a in (known[2] if len(known) > 2 else range(len(known[0])))]
    steps = known[3] if len(known) > 3 else np.ones(len(axes), int)
    for start, stop, axis, step in zip(known[0], known[1], axes, steps, strict=True):
        if labels.shape[axis] > 1:
            if int(step) != 1:
                walk.refuse(node, "it takes every second channel or so")
                return
            low, high, _ = slice(int(start), int(stop)).indices(shape[axis])
            labels = labels.take(range(low, high), axis)
            walk.resized[node.name, 1] = "slice"
    walk.set(node.output[0], labels)


def reshaping(walk: Walk, node: Any) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same elements in another shape."""
    labels, before = walk.label(node.input[0]), walk.shape(node.input[0])
    after = walk.shape(node.output[0])
    if before is None or after is None or not same_elements(before, after):
        walk.refuse(node, "its shape is unknown")
        return
    made = reshaped(labels, before, after)
    if len(varying(made)) == 2 and len(varying(labels)) == 1:
        first, second = varying(made)
        # Images are shuffled (columns go together); in sequences, heads are whole.
        together = first if len(before) == 4 else second
        walk.labels.join(made, made.take([0], together))
        made = made.take([0], together)
    if len(varying(made)) > 1:
        walk.refuse(node, "channels are spread over several axes")
        return
    if node.op_type == "Reshape" and varying(made):
        walk.resized[node.name, 1] = node.output[0]
    walk.set(node.output[0], made)


def transposing(walk: Walk, node: Any) -> None:
    """Transpose."""
    labels = walk.label(node.input[0])
    order = walk.attributes(node).get("perm") or tuple(reversed(range(labels.ndim)))
    walk.set(node.output[0], labels.transpose(order))


def reduction(walk: Walk, node: Any) -> None:
    """ReduceMean and its like, along axes without channels."""
    labels, found = walk.label(node.input[0]), walk.attributes(node)
    axes: Any = found.get("axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = walk.array(node.input[1])
    axes = range(labels.ndim) if axes is None else [int(a) % labels.ndim for a in axes]
    if set(axes) & set(varying(labels)):
        walk.refuse(node, "it sums over the channels")
        return
    if not found.get("keepdims", 1):
        labels = labels.reshape([n for a, n in enumerate(labels.shape) if a not in set(axes)])
    walk.set(node.output[0], labels)


def along(default: int, *, to_the_end: bool = False) -> Rule:
    """A rule for operators that work along ``axis`` (or from it on) and pass the rest."""

    def rule(walk: Walk, node: Any) -> None:
        labels = walk.label(node.input[0])
        axis = int(walk.attributes(node).get("axis", default)) % max(labels.ndim, 1)
        taken = range(axis, labels.ndim) if to_the_end else (axis,)
        if set(taken) & set(varying(labels)):
            walk.refuse(node, ACROSS)
            return
        walk.set(node.output[0], labels)

    return rule


def resizing(walk: Walk, node: Any) -> None:
    """Resize, Upsample: pixels repeated; extents given as a list are adapted."""
    labels = walk.label(node.input[0])
    if set(varying(labels)) - {1}:
        walk.refuse(node, "its channels are not on the second axis")
        return
    walk.set(node.output[0], labels)
    if len(node.input) > 3 and node.input[3] and varying(labels):
        walk.resized[node.name, 3] = node.output[0]


def padding(walk: Walk, node: Any) -> None:
    """Pad along other axes than the channels'."""
    labels = walk.label(node.input[0])
    pads: Any = walk.attributes(node).get("pads")
    pads = walk.array(node.input[1]) if pads is None and len(node.input) > 1 else pads
    full = len(node.input) < 4 or not node.input[3]
    if pads is None or not full or any(
        pads[axis] or pads[axis + labels.ndim] for axis in varying(labels)
    ):  # fmt: skip
        walk.refuse(node, "it pads along the channels, or by computed numbers")
        return
    walk.set(node.output[0], labels)


def gathering(walk: Walk, node: Any) -> None:
    """Gather of one index along an axis without channels."""
    labels = walk.label(node.input[0])
    index = walk.array(node.input[1])
    if walk.is_stored(node.input[0]) or index is None or index.ndim > 0 or not labels.ndim:
        walk.refuse(node, "it picks by computed indices, or from stored values")
        return
    axis = int(walk.attributes(node).get("axis", 0)) % labels.ndim
    if axis in varying(labels):
        walk.refuse(node, "it picks single channels")
        return
    walk.set(node.output[0], squeezed(labels.take(0, axis)))


RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(POOLING, pooling),
    **dict.fromkeys(JOINING, joining),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshaping),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), reduction),
    **dict.fromkeys(("Resize", "Upsample"), resizing),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), normalisation),
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": gemm,
    "MatMul": product,
    "Concat": concatenation,
    "Split": splitting,
    "Slice": slicing,
    "Transpose": transposing,
    "Pad": padding,
    "Gather": gathering,
    "Softmax": along(-1),
    "LogSoftmax": along(-1),
    "LayerNormalization": along(-1, to_the_end=True),
    "LRN": along(1),
}
