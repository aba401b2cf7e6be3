"""Values that an operator demands of an integer or boolean input: shapes, axes, counts, lengths.

A rule answers a list of exact values, an upper bound (``Below``) for random integers, or
None where anything goes. Where the file declares the shape of the result, the values are
chosen to give that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

from lwprof.profiler.graph.consumers import Use


@dataclass(frozen=True, slots=True)
class Below:
    """Random integers in [low, high)."""

    high: int
    low: int = 0


Demand = Sequence[float] | Below | None
_Rule = Callable[[Use, int], Demand]

# What a loop whose trip count is an input is run for, and a range is long.
TRIPS, LENGTH = 4, 10


def demand(use: Use, elements: int) -> Demand:
    """What a use demands of an input of so many elements."""
    rule = _RULES.get((use.type, use.place))
    return None if rule is None else rule(use, elements)


def _along(data: int, default_axis: int = 0) -> _Rule:
    """Indices along the axis of another input."""

    def rule(use: Use, elements: int) -> Demand:
        shape = use.shape(data)
        if not shape:
            return Below(1)
        axis = use.axis(default_axis, len(shape))
        return Below(max(1, shape[axis])) if axis < len(shape) else Below(1)

    return rule


def _coordinates(use: Use, elements: int) -> Demand:
    # GatherND, ScatterND: the last extent of the indices is how many axes they address
    data, indices = use.shape(0), use.shape(1)
    if not data or not indices:
        return Below(1)
    skip = int(use.attributes.get("batch_dims", 0))
    return Below(max(1, min(data[skip : skip + indices[-1]], default=1)))


def _class_labels(use: Use, elements: int) -> Demand:
    scores = use.shape(0)
    return Below(max(1, scores[1])) if scores and len(scores) > 1 else Below(1)


def _reshape(use: Use, elements: int) -> Demand:
    result, data = use.result(), use.shape(0)
    if result is not None and len(result) == elements:
        return result
    if data is None:
        return None
    return [prod(data), *[1] * (elements - 1)] if elements else []


def _expand(use: Use, elements: int) -> Demand:
    result, data = use.result(), use.shape(0) or ()
    if result is not None and len(result) == elements:
        return result
    return ([1] * (elements - len(data)) + list(data))[-elements:] if elements else []


def _repeats(use: Use, elements: int) -> Demand:
    result, data = use.result(), use.shape(0)
    if result and data and len(result) == len(data) == elements and all(data):
        return [after // before for after, before in zip(result, data, strict=True)]
    return [1] * elements


def _result_shape(use: Use, elements: int) -> Demand:
    result = use.result()
    return result[-elements:] if result and elements else [1] * elements


def _affine_size(use: Use, elements: int) -> Demand:
    # theta (n, d, d+1), grid (n, *out, d) -> size (n, c, *out)
    result = use.result()
    return [result[0], 1, *result[1:-1]] if result else [1, 1, *[2] * (elements - 2)]


def _slice_starts(use: Use, elements: int) -> Demand:
    return [0] * elements


def _slice_axes(use: Use) -> list[int]:
    known = use.value(3)
    if known is not None:
        return [int(axis) for axis in known]
    data, result = use.shape(0), use.result()
    count = (use.shape(1) or (1,))[0]
    if data and result and len(data) == len(result):
        cut = [axis for axis in range(len(data)) if data[axis] != result[axis]]
        rest = [axis for axis in range(len(data)) if axis not in cut]
        return sorted((cut + rest)[:count])
    return list(range(count))


def _slice_ends(use: Use, elements: int) -> Demand:
    data, result = use.result() and use.shape(0), use.result()
    axes, starts = _slice_axes(use), use.value(1) or [0] * elements
    if not data or not result or len(axes) != elements:
        return [2**31 - 1] * elements
    return [start + result[axis] for axis, start in zip(axes, starts, strict=True)]


def _slice_axes_demand(use: Use, elements: int) -> Demand:
    return _slice_axes(use)


def _pads(use: Use, elements: int) -> Demand:
    data, result = use.shape(0), use.result()
    if not data or not result or elements != 2 * len(data):
        return [0] * elements
    return [0] * len(data) + [after - before for before, after in zip(data, result, strict=True)]


def _scales(use: Use, elements: int) -> Demand:
    data, result = use.shape(0), use.result()
    if not data or not result or not all(data):
        return [1.0] * elements
    ratios = [after / before for before, after in zip(data, result, strict=True)]
    return _on_axes(use, ratios, elements, 1.0)


def _sizes(use: Use, elements: int) -> Demand:
    shape = use.result() or use.shape(0) or (1,) * elements
    return _on_axes(use, shape, elements, 1)


def _on_axes(use: Use, whole: Sequence[float], elements: int, default: float) -> Demand:
    axes = use.attributes.get("axes")
    picked = [whole[axis] for axis in axes] if axes else list(whole)
    return picked if len(picked) == elements else [default] * elements


def _top_k(use: Use, elements: int) -> Demand:
    data, result = use.shape(0), use.result()
    if not data:
        return [1]
    axis = use.axis(-1, len(data))
    return [result[axis] if result else max(1, data[axis] // 2)]


def _new_axes(use: Use, elements: int) -> Demand:
    data, result = use.shape(0), use.result()
    rank = (len(data) if data else 0) + elements
    for axes in combinations(range(rank), elements):
        kept = [result[i] for i in range(rank) if i not in axes] if result else None
        if kept is None or kept == list(data or ()):
            return axes
    return list(range(elements))


def _gone_axes(use: Use, elements: int) -> Demand:
    data, result = use.shape(0) or (), use.result()
    ones = [axis for axis, extent in enumerate(data) if extent == 1]
    for axes in combinations(ones, elements):
        kept = tuple(e for i, e in enumerate(data) if i not in axes)
        if result is None or kept == result:
            return axes
    return list(range(elements))


def _reduced_axes(use: Use, elements: int) -> Demand:
    data, result = use.shape(0) or (), use.result()
    keep = bool(use.attributes.get("keepdims", 1))
    for axes in combinations(range(len(data)), min(elements, len(data))):
        if result is None:
            return axes
        after = [1 if i in axes else e for i, e in enumerate(data) if keep or i not in axes]
        if after == list(result):
            return axes
    return list(range(elements))


def _split_sizes(use: Use, elements: int) -> Demand:
    data = use.shape(0)
    if not data:
        return [1] * elements
    axis = use.axis(0, len(data))
    parts = [use.result(place) for place in range(len(use.outputs))]
    if all(part is not None for part in parts) and len(parts) == elements:
        return [part[axis] for part in parts if part is not None]
    share, rest = divmod(data[axis], max(elements, 1))
    return [share + (1 if i < rest else 0) for i in range(elements)]


def _split_sequence(use: Use, elements: int) -> Demand:
    data, scalar = use.shape(0), use.shape(1) == ()
    if not data or not scalar:
        return _split_sizes(use, elements)
    return [max(1, data[use.axis(0, len(data))] // 2)]


def _length_of(data: int, axis: int) -> _Rule:
    """As long as an axis of another input: nothing is cut off."""

    def rule(use: Use, elements: int) -> Demand:
        shape = use.shape(data)
        return [shape[axis]] * elements if shape and -len(shape) <= axis < len(shape) else None

    return rule


def _recurrent_length(use: Use, elements: int) -> Demand:
    data = use.shape(0)
    axis = 1 if use.attributes.get("layout", 0) else 0
    return [data[axis]] * elements if data else None


def _reversed_length(use: Use, elements: int) -> Demand:
    data, axis = use.shape(0), int(use.attributes.get("time_axis", 0))
    return [data[axis]] * elements if data else None


def _depth(use: Use, elements: int) -> Demand:
    result = use.result()
    return [result[use.axis(-1, len(result))]] if result else [LENGTH]


def _one_hot_indices(use: Use, elements: int) -> Demand:
    known, result = use.value(1), use.result()
    if known:
        return Below(max(1, int(known[0])))
    return Below(result[use.axis(-1, len(result))] if result else LENGTH)


def _range_limit(use: Use, elements: int) -> Demand:
    result, start, step = use.result(), use.value(0) or [0], use.value(2) or [1]
    return [start[0] + step[0] * (result[0] if result else LENGTH)]


def _image_shape(use: Use, elements: int) -> Demand:
    # Col2Im: x (n, c·block, blocks) -> y (n, c, *image)
    result = use.result()
    return result[2:] if result else None


def _block_shape(use: Use, elements: int) -> Demand:
    data, result = use.shape(0), use.result()
    if not data or not result:
        return None
    rank, area = elements, data[1] // max(1, result[1])
    strides = use.attributes.get("strides") or [1] * rank
    dilations = use.attributes.get("dilations") or [1] * rank
    pads = use.attributes.get("pads") or [0] * 2 * rank
    for block in _factorisations(area, rank):
        counts = [
            (result[2 + i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1)
            // strides[i] + 1
            for i in range(rank)
        ]  # fmt: skip
        if prod(counts) == data[2]:
            return block
    return None


def _factorisations(number: int, parts: int) -> list[list[int]]:
    if parts == 1:
        return [[number]]
    return [
        [first, *rest]
        for first in range(1, min(number, 4096) + 1)
        if number % first == 0
        for rest in _factorisations(number // first, parts - 1)
    ]


def _unpooled(use: Use, elements: int) -> Demand:
    result = use.result()
    return Below(max(1, prod(result)) if result else prod(use.shape(0) or (1,)))


def _positions(use: Use, elements: int) -> Demand:
    cache = use.shape(1)
    return Below(max(1, cache[0])) if cache and len(cache) == 2 else Below(1)


def _cache_length(use: Use, elements: int) -> Demand:
    # all keys are valid, as far as the mask (…, queries, keys) reaches
    data, mask = use.shape(1), use.shape(3)
    if not data or len(data) < 3:
        return None
    return [min(data[-2], mask[-1]) if mask else data[-2]] * elements


def _fixed(*values: float) -> _Rule:
    return lambda use, elements: (list(values) * elements)[: max(elements, 0)]


def _below(high: int, low: int = 0) -> _Rule:
    return lambda use, elements: Below(high, low)


_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
               "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip

# Some runtimes take only equal zero points.
_ZERO_POINTS = (
    ("ConvInteger", 2), ("ConvInteger", 3), ("MatMulInteger", 2), ("MatMulInteger", 3),
    ("QLinearConv", 2), ("QLinearConv", 5), ("QLinearConv", 7), ("QLinearMatMul", 2),
    ("QLinearMatMul", 5), ("QLinearMatMul", 7), ("QuantizeLinear", 2), ("DequantizeLinear", 2),
)  # fmt: skip

_RULES: Mapping[tuple[str, int], _Rule] = {
    ("Gather", 1): _along(0), ("GatherElements", 1): _along(0), ("Scatter", 1): _along(0),
    ("ScatterElements", 1): _along(0), ("ArrayFeatureExtractor", 1): _along(0, -1),
    ("GatherND", 1): _coordinates, ("ScatterND", 1): _coordinates,
    ("TensorScatter", 2): _fixed(0), ("MaxUnpool", 1): _unpooled, ("MaxUnpool", 2): _sizes,
    ("NegativeLogLikelihoodLoss", 1): _class_labels,
    ("SoftmaxCrossEntropyLoss", 1): _class_labels,
    ("OneHot", 0): _one_hot_indices, ("OneHot", 1): _depth,
    ("RotaryEmbedding", 3): _positions,
    ("Reshape", 1): _reshape, ("Expand", 1): _expand, ("Tile", 1): _repeats,
    ("ConstantOfShape", 0): _result_shape, ("CenterCropPad", 1): _result_shape,
    ("AffineGrid", 1): _affine_size, ("Col2Im", 1): _image_shape, ("Col2Im", 2): _block_shape,
    ("Slice", 1): _slice_starts, ("Slice", 2): _slice_ends, ("Slice", 3): _slice_axes_demand,
    ("Slice", 4): _fixed(1), ("Pad", 1): _pads,
    ("Pad", 3): lambda use, elements: list(range(elements)),
    ("Resize", 1): _fixed(0.0), ("Resize", 2): _scales, ("Resize", 3): _sizes,
    ("Upsample", 1): _scales, ("TopK", 1): _top_k,
    ("Unsqueeze", 1): _new_axes, ("Squeeze", 1): _gone_axes,
    **{(name, 1): _reduced_axes for name in _REDUCTIONS},
    ("Split", 1): _split_sizes, ("SplitToSequence", 1): _split_sequence,
    ("LSTM", 4): _recurrent_length, ("GRU", 4): _recurrent_length, ("RNN", 4): _recurrent_length,
    ("ReverseSequence", 1): _reversed_length, ("Attention", 6): _cache_length,
    ("Attention", 3): _fixed(1), ("Range", 0): _fixed(0), ("Range", 1): _range_limit,
    ("Range", 2): _fixed(1), ("CumSum", 1): _fixed(0), ("CumProd", 1): _fixed(0),
    ("Trilu", 1): _fixed(0), ("DFT", 1): _length_of(0, -2), ("DFT", 2): _fixed(-2),
    ("STFT", 1): _fixed(8), ("STFT", 3): _fixed(16), ("Loop", 0): _fixed(TRIPS),
    ("Loop", 1): _fixed(1), ("If", 0): _fixed(1), ("Dropout", 2): _fixed(0),
    ("SequenceAt", 1): _fixed(0), ("SequenceErase", 1): _fixed(0), ("SequenceInsert", 2): _fixed(0),
    ("HannWindow", 0): _fixed(LENGTH), ("HammingWindow", 0): _fixed(LENGTH),
    ("BlackmanWindow", 0): _fixed(LENGTH), ("MelWeightMatrix", 0): _fixed(8),
    ("MelWeightMatrix", 1): _fixed(16), ("MelWeightMatrix", 2): _fixed(8192),
    ("NonMaxSuppression", 2): _fixed(5), ("RoiAlign", 2): _below(1),
    ("Div", 1): _below(7, 1), ("Mod", 1): _below(7, 1), ("BitShift", 1): _below(5),
    ("Pow", 1): _below(3),
    **{(name, place): _fixed(0) for name, place in _ZERO_POINTS},
}  # fmt: skip
