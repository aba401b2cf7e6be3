"""Inference schedules that need less activation memory (survey S16–S18).

- In-place depthwise (MCUNet): a depthwise convolution of stride 1 that keeps the size can
  write channel by channel over its input, if nobody else reads it: N + 1 channels instead
  of 2 N. The graph is the same; only a runtime with such a kernel gains.
- Patch-based inference (MCUNetV2, arXiv 2110.15352): the first layers run on one patch of the
  image after the other, so that their large maps never exist whole. Patches overlap by the
  receptive field, which costs work; outputs are equal.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from lwprof.compression.layers import conv_layer
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.structure import batch_norm
from lwprof.compression.structure.patching import Stage, patch, stages
from lwprof.compression.transform import Draft, Given, Transform
from lwprof.profiler.graph import Graph, read
from lwprof.profiler.graph.memory import Step, activation_sizes, peak_bytes

# Each is rewritten and its peak counted.
_TRIED = 8


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
    """The first stages that end in a smaller map than every stage before them.

    Later ones cost more overlap, and their patches see most of the image anyhow.
    """
    out: list[Stage] = []
    least: int | None = None
    for stage in stages(rewriting):
        shape = rewriting.shape(stage.result) or ()
        size = int(np.prod(shape))
        if min(shape[2:]) >= patches and (least is None or size < least):
            out.append(stage)
            least = size
    return out[:_TRIED]


IN_PLACE_DEPTHWISE = Transform(
    "in_place_depthwise", "In-place depthwise convolution (TinyEngine's memory schedule)",
    "S16, S17", "equal", "depthwise Conv that keeps its size", _in_place,
)  # fmt: skip
PATCHES = tuple(
    Transform(f"patches_{n}x{n}", f"Patch-based inference, {n} × {n}", "S18", "equal",
              "Conv, MaxPool, elementwise operators and shortcuts behind the input",
              partial(_patches, patches=n))
    for n in (2, 3)
)  # fmt: skip
