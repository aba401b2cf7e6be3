"""Patch-based inference (MCUNetV2, arXiv 2110.15352): the first layers run patch by patch.

A stage is everything between the input and one value, with its branches and shortcuts, where each
operator looks at a neighbourhood only. Each value's rows and columns that a patch needs are those
that its readers need together; a reader that needs fewer is given a slice. Patches overlap by
the receptive field, which costs work; outputs are equal.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import conv_layer
from lwprof.compression.rewriting import Rewriting, attributes

_ELEMENTWISE = ("Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh", "BatchNormalization")
_JOINING = ("Add", "Sub", "Mul", "Concat")

Span = tuple[int, int]
"""First row (or column) and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The layers that run patch by patch.

    Attributes:
        nodes: in order; they read ``source``, one another and stored numbers, and of what they
            make only ``result`` is read by others.
    """

    nodes: tuple[Any, ...]
    source: str
    result: str


@dataclass(frozen=True, slots=True)
class Reach:
    """What one operator looks at along one axis.

    Attributes:
        size: of its input; pads beyond both ends are filled by the operator itself.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    size: int

    def reads(self, made: Span) -> tuple[Span, int, int]:
        """Rows read to make rows ``made``, and how many are padded before and after them."""
        low = made[0] * self.stride - self.before
        high = (made[1] - 1) * self.stride - self.before + (self.kernel - 1) * self.dilation + 1
        span = (max(0, low), min(self.size, high))
        return span, max(0, -low), max(0, high - self.size)


def stages(rewriting: Rewriting) -> list[Stage]:
    """Every stage behind the only input, by length.

    Operators are taken in the graph's order while they are local; wherever a single value is
    all that is open, a stage ends.
    """
    graph = rewriting.graph
    found: list[Stage] = []
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape or ()) != 4:
        return found
    source = graph.inputs[0].name
    made, nodes = {source}, []
    for node in rewriting.nodes:
        values = _values(rewriting, node)
        if not values:
            continue  # it computes constants
        if not made.issuperset(values) or not _local(rewriting, node):
            if made & set(values):
                made -= set(values)  # read outside: whatever follows must end there
            continue
        nodes.append(node)
        made.add(node.output[0])
        if _closed(rewriting, nodes, source):
            found.append(Stage(tuple(nodes), source, node.output[0]))
    return found


def _closed(rewriting: Rewriting, nodes: list[Any], source: str) -> bool:
    """Whether the last node's value is all that others read of these nodes and their input."""
    inside = {node.name for node in nodes}
    outputs = {tensor.name for tensor in rewriting.graph.outputs}
    for value in (source, *(node.output[0] for node in nodes[:-1])):
        if value in outputs or any(n.name not in inside for n in rewriting.consumers(value)):
            return False
    return True


def _values(rewriting: Rewriting, node: Any) -> list[str]:
    """Inputs that are no stored numbers."""
    return [name for name in node.input if name and rewriting.constant(name) is None]


def _local(rewriting: Rewriting, node: Any) -> bool:
    """Whether rows of the output depend on a known neighbourhood of rows of the inputs."""
    values = _values(rewriting, node)
    shapes = [rewriting.shape(name) for name in (*values, node.output[0])]
    if len(node.output) != 1 or any(s is None or len(s) != 4 for s in shapes):
        return False
    if node.op_type in _ELEMENTWISE:
        return values == [node.input[0]]
    if node.op_type == "Conv":
        return conv_layer(rewriting, node) is not None and values == [node.input[0]]
    if node.op_type == "MaxPool":
        found = attributes(node)
        return not found.get("ceil_mode") and found.get("auto_pad", b"NOTSET") in (
            b"NOTSET", "NOTSET")  # fmt: skip
    if node.op_type not in _JOINING or len(values) != len(node.input):
        return False
    if node.op_type == "Concat":
        return attributes(node).get("axis") == 1
    return len({shape[2:] for shape in shapes if shape is not None}) == 1


def _reach(rewriting: Rewriting, node: Any, axis: int) -> Reach:
    size = (rewriting.shape(node.input[0]) or (0, 0, 0, 0))[2 + axis]
    layer = conv_layer(rewriting, node) if node.op_type == "Conv" else None
    if layer is not None:
        return Reach(layer.kernel[axis], layer.strides[axis], layer.dilations[axis],
                     layer.pads[axis], size)  # fmt: skip
    if node.op_type == "MaxPool":
        found = attributes(node)
        pick = {key: (list(found.get(key) or default))[axis] for key, default in
                (("kernel_shape", ()), ("strides", (1, 1)), ("dilations", (1, 1)),
                 ("pads", (0, 0)))}  # fmt: skip
        return Reach(pick["kernel_shape"], pick["strides"], pick["dilations"], pick["pads"], size)
    return Reach(1, 1, 1, 0, size)


def needed(rewriting: Rewriting, stage: Stage, made: Span, axis: int) -> dict[str, Span]:
    """Rows of every value that rows ``made`` of the result need, of all its readers together."""
    spans = {stage.result: made}
    for node in reversed(stage.nodes):
        span, _, _ = _reach(rewriting, node, axis).reads(spans[node.output[0]])
        for name in _values(rewriting, node):
            have = spans.get(name, span)
            spans[name] = (min(have[0], span[0]), max(have[1], span[1]))
    return spans


def cuts(size: int, patches: int) -> list[Span]:
    """``patches`` nearly equal parts of an extent."""
    edges = [size * i // patches for i in range(patches + 1)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def patch(rewriting: Rewriting, stage: Stage, patches: int) -> None:
    """Rewrites a stage as ``patches`` × ``patches`` passes whose results are joined."""
    shape = rewriting.shape(stage.result) or ()
    height, width = shape[2:]
    reaches = {node.name: [_reach(rewriting, node, axis) for axis in range(2)]
               for node in stage.nodes}  # fmt: skip
    rows = [needed(rewriting, stage, span, 0) for span in cuts(height, patches)]
    columns = [needed(rewriting, stage, span, 1) for span in cuts(width, patches)]
    rewriting.remove(*stage.nodes)
    bands = []
    for down in rows:
        row = [_pass(rewriting, stage, reaches, (down, across)) for across in columns]
        top, bottom = down[stage.result]
        band = (*shape[:2], bottom - top, width)
        bands.append(rewriting.add("Concat", row, band, axis=3) if len(row) > 1 else row[0])
    rewriting.add("Concat", bands, shape, output=stage.result, axis=2)


def _pass(
    rewriting: Rewriting, stage: Stage, reaches: dict[str, list[Reach]],
    spans: tuple[dict[str, Span], dict[str, Span]],
) -> str:  # fmt: skip
    """One patch through the stage; the name of its result."""
    whole = rewriting.shape(stage.source) or (0, 0, 0, 0)
    have = {stage.source: (stage.source, ((0, whole[2]), (0, whole[3])))}
    window = (spans[0][stage.source], spans[1][stage.source])
    have[stage.source] = (_slice(rewriting, have[stage.source], window), window)
    for node in stage.nodes:
        found, made = attributes(node), [axis[node.output[0]] for axis in spans]
        reads = [reach.reads(span) for reach, span in zip(reaches[node.name], made, strict=True)]
        need = (reads[0][0], reads[1][0])
        inputs = [_slice(rewriting, have[name], need) if name in have else name
                  for name in node.input]  # fmt: skip
        if node.op_type in ("Conv", "MaxPool"):
            found.pop("auto_pad", None)
            found["pads"] = [reads[0][1], reads[1][1], reads[0][2], reads[1][2]]
        name = rewriting.add(node.op_type, inputs, hint=f"{node.name}.patch", **found)
        have[node.output[0]] = (name, (made[0], made[1]))
    return have[stage.result][0]


def _slice(rewriting: Rewriting, have: tuple[str, tuple[Span, Span]], need: tuple[Span, Span]
           ) -> str:  # fmt: skip
    """A part of a value that covers some rows and columns; itself where all are needed."""
    name, window = have
    if window == need:
        return name
    starts = [n[0] - w[0] for n, w in zip(need, window, strict=True)]
    stops = [n[1] - w[0] for n, w in zip(need, window, strict=True)]
    bounds = [rewriting.add_constant(np.array(v, np.int64), "patch")
              for v in (starts, stops, [2, 3])]  # fmt: skip
    return str(rewriting.add("Slice", [name, *bounds]))
