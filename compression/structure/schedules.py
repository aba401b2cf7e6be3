"""Inference schedules that need less activation memory (survey S16–S18).

- In-place depthwise (MCUNet): a depthwise convolution of stride 1 that keeps the size can
  write channel by channel over its input, if nobody else reads it: N + 1 channels instead
  of 2 N. The graph is the same; only a runtime with such a kernel gains.
- Patch-based inference (MCUNetV2, arXiv 2110.15352): the first layers run on one patch of the
  image after the other, so that their large maps never exist whole. Patches overlap by the
  receptive field, which costs work; outputs are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lwprof.compression.layers import conv_layer
from lwprof.compression.rewriting import Rewriting, attributes
from lwprof.compression.structure import batch_norm
from lwprof.compression.transform import Draft, Given, Transform
from lwprof.profiler.graph import Graph, read
from lwprof.profiler.graph.memory import Step, activation_sizes, peak_bytes

_ELEMENTWISE = ("Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh", "BatchNormalization")


def in_place_peak(graph: Graph) -> tuple[int | None, tuple[str, ...]]:
    """Peak activation bytes with in-place depthwise convolutions, and which nodes those are.

    Elementwise operators overwrite their input as well. A depthwise convolution written in
    place needs one channel on top while it runs.
    """
    rewriting = Rewriting(graph)
    names = list(graph.tensors)
    sizes = activation_sizes(graph.tensors, names)
    steps, chosen = [], []
    for node in rewriting.nodes:
        kind, extra = node.op_type, 0
        if _overwrites(rewriting, node):
            size = sizes[node.output[0]]
            channels = (rewriting.shape(node.output[0]) or (1, 1))[1]
            # To the planner it is an elementwise operator with a channel of its own.
            kind, extra = "Relu", -(-(size or 0) // channels)
            chosen.append(node.name)
        steps.append(Step(kind, tuple(n for n in node.input if n),
                          tuple(n for n in node.output if n), extra))  # fmt: skip
    inputs = [tensor.name for tensor in graph.inputs]
    outputs = [tensor.name for tensor in graph.outputs]
    return peak_bytes(steps, sizes, inputs, outputs, in_place=True), tuple(chosen)


def _overwrites(rewriting: Rewriting, node: Any) -> bool:
    layer = conv_layer(rewriting, node)
    return (
        layer is not None and layer.is_depthwise and layer.weight.shape[0] == layer.groups
        and layer.in_shape == layer.out_shape and rewriting.is_private(layer.source)
        and layer.source not in {t.name for t in rewriting.graph.inputs}
    )  # fmt: skip


def _in_place(draft: Draft) -> None:
    peak, chosen = in_place_peak(draft.rewriting.graph)
    before = draft.rewriting.graph.peak_memory_inplace_bytes
    if not chosen:
        draft.refused[""] = "no depthwise convolution that keeps its size and is read once"
        return
    if peak is None or before is None or peak >= before:
        draft.refused[""] = "the peak lies elsewhere, so it would not fall"
        return
    draft.peak_memory_bytes, draft.simulated = peak, True
    draft.changed += list(chosen)
    draft.notes.append("needs a runtime with in-place kernels; ONNX Runtime has none")


@dataclass(frozen=True, slots=True)
class Stage:
    """The layers that run patch by patch: a chain from the graph's input.

    Attributes:
        nodes: in order; ``source`` is the input of the first, ``result`` of the last.
    """

    nodes: tuple[Any, ...]
    source: str
    result: str


@dataclass(frozen=True, slots=True)
class Window:
    """Rows (or columns) of a map: ``start`` to ``stop``, padded by ``before`` and ``after``."""

    start: int
    stop: int
    before: int
    after: int


def stages(rewriting: Rewriting) -> list[Stage]:
    """Every stage that can run in patches: prefixes of the chain behind the only input."""
    graph = rewriting.graph
    found: list[Stage] = []
    if len(graph.inputs) != 1:
        return found
    value, nodes = graph.inputs[0].name, []
    while rewriting.is_private(value):
        node = rewriting.consumers(value)[0]
        if not _local(rewriting, node, value):
            break
        nodes.append(node)
        value = node.output[0]
        shape = rewriting.shape(value)
        if shape is None or len(shape) != 4:
            break
        found.append(Stage(tuple(nodes), graph.inputs[0].name, value))
    return found


def _local(rewriting: Rewriting, node: Any, value: str) -> bool:
    if node.op_type in _ELEMENTWISE:
        return bool(node.input[0] == value)
    if node.op_type == "Conv":
        return conv_layer(rewriting, node) is not None and node.input[0] == value
    return False


def windows(
    layers: Sequence[tuple[int, int, int, int, int]], start: int, stop: int
) -> list[Window]:
    """What each layer must read so that the last makes rows ``start`` to ``stop``, first first.

    Args:
        layers: of each: kernel, stride, dilation, padding before, size of its input.
    """
    out: list[Window] = []
    for kernel, stride, dilation, pad, size in reversed(layers):
        low = start * stride - pad
        high = (stop - 1) * stride - pad + (kernel - 1) * dilation + 1
        window = Window(max(0, low), min(size, high), max(0, -low), max(0, high - size))
        out.append(window)
        start, stop = window.start, window.stop
    return out[::-1]


def _geometry(
    rewriting: Rewriting, stage: Stage, axis: int
) -> list[tuple[int, int, int, int, int]]:
    out = []
    for node in stage.nodes:
        layer = conv_layer(rewriting, node)
        if layer is None:
            size = (rewriting.shape(node.input[0]) or (0, 0, 0, 0))[2 + axis]
            out.append((1, 1, 1, 0, size))
        else:
            out.append((layer.kernel[axis], layer.strides[axis], layer.dilations[axis],
                        layer.pads[axis], layer.in_shape[2 + axis]))  # fmt: skip
    return out


def _cuts(size: int, patches: int) -> list[tuple[int, int]]:
    edges = [size * i // patches for i in range(patches + 1)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def patch(rewriting: Rewriting, stage: Stage, patches: int) -> None:
    """Rewrites a stage as ``patches`` × ``patches`` passes whose results are joined."""
    height, width = (rewriting.shape(stage.result) or (0, 0, 0, 0))[2:]
    geometry = [_geometry(rewriting, stage, axis) for axis in range(2)]
    rewriting.remove(*stage.nodes)
    shape = rewriting.shape(stage.result) or ()
    bands = []
    for top, bottom in _cuts(height, patches):
        row = []
        for left, right in _cuts(width, patches):
            spans = [windows(geometry[0], top, bottom), windows(geometry[1], left, right)]
            row.append(_pass(rewriting, stage, spans))
        band = (*shape[:2], bottom - top, width)
        bands.append(rewriting.add("Concat", row, band, axis=3) if len(row) > 1 else row[0])
    rewriting.add("Concat", bands, shape, output=stage.result, axis=2)


def _pass(rewriting: Rewriting, stage: Stage, spans: list[list[Window]]) -> str:
    """One patch through the stage."""
    first = [axis[0] for axis in spans]
    bounds = [np.array(v, np.int64) for v in ([w.start for w in first], [w.stop for w in first],
                                              [2, 3])]  # fmt: skip
    names = [rewriting.add_constant(array, "patch") for array in bounds]
    value = rewriting.add("Slice", [stage.source, *names])
    for place, node in enumerate(stage.nodes):
        found = attributes(node)
        if node.op_type == "Conv":
            found.pop("auto_pad", None)
            rows, columns = (axis[place] for axis in spans)
            found["pads"] = [rows.before, columns.before, rows.after, columns.after]
        value = rewriting.add(node.op_type, [value, *node.input[1:]], hint=f"{node.name}.patch",
                              **found)  # fmt: skip
    return value


def _patches(draft: Draft, patches: int) -> None:
    """Patches the stage that lowers the peak most."""
    original = draft.rewriting.graph
    folding = Draft(draft.rewriting, Given())
    batch_norm.fold(folding)
    folded = read(draft.rewriting.finish()) if folding.changed else original
    best: tuple[int, Any, Stage] | None = None
    before = folded.peak_memory_bytes
    for stage in _promising(Rewriting(folded), patches):
        trial = Rewriting(folded)
        patch(trial, stage, patches)
        model = trial.finish()
        peak = read(model).peak_memory_bytes
        if peak is None or before is None or peak >= before:
            continue
        if best is None or peak < best[0]:
            best = peak, model, stage
    if best is None:
        draft.refused[""] = "no first stage whose patches would lower the peak"
        return
    model = best[1]
    draft.rewriting.replacement = model
    draft.changed += [node.name for node in best[2].nodes]
    macs = (read(model).macs or 0) - (folded.macs or 0)
    share = macs / folded.macs if folded.macs else 0.0
    draft.notes.append(f"overlap costs {macs} MACs ({share:.1%}); {len(best[2].nodes)} operators "
                       f"run in {patches} × {patches} patches")  # fmt: skip


def _promising(rewriting: Rewriting, patches: int) -> list[Stage]:
    """Stages that end in a map smaller than one before it, each end once per convolution."""
    out = []
    for stage in stages(rewriting):
        shapes = [rewriting.shape(node.output[0]) or () for node in stage.nodes]
        last, largest = int(np.prod(shapes[-1])), max(int(np.prod(s)) for s in shapes)
        if min(shapes[-1][2:]) >= patches and (last < largest or len(stage.nodes) == 1):
            out.append(stage)
    return out[-6:]


IN_PLACE_DEPTHWISE = Transform(
    "in_place_depthwise", "In-place depthwise convolution (TinyEngine's memory schedule)",
    "S16, S17", "equal", "depthwise Conv that keeps its size", _in_place,
)  # fmt: skip
PATCHES = tuple(
    Transform(f"patches_{n}x{n}", f"Patch-based inference, {n} × {n}", "S18", "equal",
              "the chain of Conv and elementwise operators behind the input",
              partial(_patches, patches=n))
    for n in (2, 3)
)  # fmt: skip
