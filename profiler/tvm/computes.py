"""Convolutions and dense layers as TVM tensor expressions on packed weights.

Activations are blocked by channels, NCHW[b]c with b the lanes of a vector
register, so that one vector holds b channels of one pixel; weights are packed so
that the innermost loop reads them in order. The names of the stages
(``conv``, ``conv_pad``, ``depthwise`` …) tell the templates what they schedule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A two-dimensional convolution.

    Attributes:
        weight: (out channels, in channels per group, height, width) of the kernel.
        strides: rows, columns.
        padding: top, left, bottom, right.
        dilation: rows, columns.
        groups: 1 for a dense convolution. Each group fills whole blocks of the
            output, the last one padded.
        block: channels in a block of the output.
        in_block: channels in a block of the input; 1 when it is NCHW.
    """

    weight: tuple[int, int, int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    block: int
    in_block: int

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output."""
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self._span(0)) // self.strides[0] + 1
        columns = (width + left + right - self._span(1)) // self.strides[1] + 1
        return rows, columns

    def input_size(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of padded input that an output of that size reads."""
        return (
            (rows - 1) * self.strides[0] + self._span(0),
            (columns - 1) * self.strides[1] + self._span(1),
        )

    def _span(self, axis: int) -> int:
        return (self.weight[2 + axis] - 1) * self.dilation[axis] + 1


def blocks(channels: int, block: int) -> int:
    """Blocks that hold ``channels`` channels, the last one padded."""
    return -(-channels // block)


def reduction_step(channels: int, in_block: int) -> int:
    """Channels that the inner reduction loop runs over: a divisor of the true number.

    Padded lanes are never read: 24 channels in blocks of 16 go in three steps of 8.
    """
    return math.gcd(channels, in_block) if in_block > 1 else 1


def pack_conv(weight: NDArray[Any], shape: ConvShape) -> NDArray[Any]:
    """Pack weights of a convolution.

    Args:
        weight: (O, I, kh, kw) with I the input channels of one group.
        shape: the convolution.

    Returns:
        (O/b, I/f, kh, kw, f, b) with f from :func:`reduction_step`, the channels of
        each group in blocks of their own, zeros in the lanes that pad them.
    """
    _, ins, rows, columns = weight.shape
    step = reduction_step(ins, shape.in_block)
    padded = _padded_groups(weight, shape.block, shape.groups)
    split = padded.reshape(-1, shape.block, ins // step, step, rows, columns)
    return numpy.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def merge_groups(weight: NDArray[Any], groups: int, merged: int) -> NDArray[Any]:
    """Weights of a grouped convolution as one with fewer groups, zeros where none was.

    Args:
        weight: (O, I, kh, kw) with I the input channels of one group.
        groups: number of groups.
        merged: groups that become one; divides ``groups``.

    Returns:
        (O, I * merged, kh, kw).
    """
    outs, ins, rows, columns = weight.shape
    each = outs // groups
    wide = numpy.zeros((outs, ins * merged, rows, columns), weight.dtype)
    for group in range(groups):
        own = slice(group * each, (group + 1) * each)
        first = (group % merged) * ins
        wide[own, first : first + ins] = weight[own]
    return wide


def _padded_groups(values: NDArray[Any], block: int, groups: int) -> NDArray[Any]:
    """Pad the first axis so that each group of it fills whole blocks."""
    each = values.shape[0] // groups
    size = blocks(each, block) * block
    padded = numpy.zeros((groups, size, *values.shape[1:]), values.dtype)
    padded[:, :each] = values.reshape(groups, each, *values.shape[1:])
    return padded.reshape(groups * size, *values.shape[1:])


def pack_depthwise(weight: NDArray[Any], block: int) -> NDArray[Any]:
    """Pack weights (C, 1, kh, kw) of a depthwise convolution as (C/b, kh, kw, b)."""
    rows, columns = weight.shape[2:]
    split = _padded_groups(weight[:, 0], block, 1).reshape(-1, block, rows, columns)
    return numpy.ascontiguousarray(split.transpose(0, 2, 3, 1))


def pack_channels(values: NDArray[Any], block: int, groups: int) -> NDArray[Any]:
    """Block the channels of a constant (N, C, H, W), whose C may be 1."""
    count, channels, rows, columns = values.shape
    if channels == 1:
        return values.reshape(count, 1, rows, columns, 1)
    padded = _padded_groups(numpy.ascontiguousarray(values.transpose(1, 0, 2, 3)), block, groups)
    split = padded.reshape(-1, block, count, rows, columns)
    return numpy.ascontiguousarray(split.transpose(2, 0, 3, 4, 1))


def pack_dense(weight: NDArray[Any], block: int) -> NDArray[Any]:
    """Pack weights (K, N) of a dense layer as (N/b, K, b), zeros beyond N."""
    depth, width = weight.shape
    padded = numpy.zeros((depth, blocks(width, block) * block), "float32")
    padded[:, :width] = weight
    return numpy.ascontiguousarray(padded.reshape(depth, -1, block).transpose(1, 0, 2))


def to_blocked(data: Any, block: int, groups: int) -> Any:
    """NCHW to NCHW[b]c; lanes beyond the last channel of a group are zero."""
    from tvm import te, tirx

    count, channels, rows, columns = (int(d) for d in data.shape)
    each = channels // groups
    chunks = blocks(each, block)

    def lane(n: Any, c: Any, y: Any, x: Any, i: Any) -> Any:
        if each % block == 0:
            return data[n, c * block + i, y, x]
        within = (c % chunks) * block + i
        value = data[n, (c // chunks) * each + within, y, x]
        return tirx.if_then_else(within < each, value, tirx.const(0, str(data.dtype)))

    return te.compute((count, groups * chunks, rows, columns, block), lane, name="to_blocked")


def to_plain(data: Any, channels: int, groups: int) -> Any:
    """NCHW[b]c to NCHW."""
    from tvm import te

    count, chunks, rows, columns, block = (int(d) for d in data.shape)
    each, per_group = channels // groups, chunks // groups

    def value(n: Any, c: Any, y: Any, x: Any) -> Any:
        if each % block == 0:
            return data[n, c // block, y, x, c % block]
        within = c % each
        return data[n, (c // each) * per_group + within // block, y, x, within % block]

    return te.compute((count, channels, rows, columns), value, name="to_plain")


def repeat_channels(data: Any, times: int) -> Any:
    """NCHW with each channel ``times`` times in a row."""
    from tvm import te

    count, channels, rows, columns = (int(d) for d in data.shape)
    return te.compute(
        (count, channels * times, rows, columns),
        lambda n, c, y, x: data[n, c // times, y, x],
        name="repeat_channels",
    )


def conv(data: Any, packed: Any, shape: ConvShape) -> Any:
    """Convolution of blocked (or NCHW) data to blocked data.

    Args:
        data: (N, C/b, H, W, b), or (N, C, H, W) where ``shape.in_block`` is 1.
        packed: from :func:`pack_conv`.
        shape: the convolution.
    """
    from tvm import te

    count, _, height, width = (int(d) for d in data.shape[:4])
    outs, ins, rows, columns = shape.weight
    step, inner = reduction_step(ins, shape.in_block), shape.in_block
    padded = _padded(data, shape, height, width)
    chunks = te.reduce_axis((0, ins // step), name="rc")
    ky = te.reduce_axis((0, rows), name="ky")
    kx = te.reduce_axis((0, columns), name="kx")
    lane = te.reduce_axis((0, step), name="ri")
    group_blocks = blocks(outs // shape.groups, shape.block)

    def term(n: Any, c: Any, y: Any, x: Any, i: Any) -> Any:
        channel = chunks * step + lane
        if shape.groups > 1:
            channel = channel + (c // group_blocks) * ins
        at = (y * shape.strides[0] + ky * shape.dilation[0],
              x * shape.strides[1] + kx * shape.dilation[1])  # fmt: skip
        if inner == 1:
            value = padded[n, channel, at[0], at[1]]
        elif step == inner:
            first = chunks + (c // group_blocks) * (ins // inner) if shape.groups > 1 else chunks
            value = padded[n, first, at[0], at[1], lane]
        else:
            value = padded[n, channel // inner, at[0], at[1], channel % inner]
        return te.sum(value * packed[c, chunks, ky, kx, lane, i], axis=[chunks, ky, kx, lane])

    chunk_count = shape.groups * group_blocks
    size = (count, chunk_count, *shape.output_size(height, width), shape.block)
    return te.compute(size, term, name="conv")


def depthwise(data: Any, packed: Any, shape: ConvShape) -> Any:
    """Depthwise convolution of blocked data.

    Args:
        data: (N, C/b, H, W, b).
        packed: from :func:`pack_depthwise`.
        shape: the convolution; its groups are its channels.
    """
    from tvm import te

    count, chunks, height, width, block = (int(d) for d in data.shape)
    _, _, rows, columns = shape.weight
    padded = _padded(data, shape, height, width)
    ky = te.reduce_axis((0, rows), name="ky")
    kx = te.reduce_axis((0, columns), name="kx")

    def term(n: Any, c: Any, y: Any, x: Any, i: Any) -> Any:
        value = padded[
            n,
            c,
            y * shape.strides[0] + ky * shape.dilation[0],
            x * shape.strides[1] + kx * shape.dilation[1],
            i,
        ]
        return te.sum(value * packed[c, ky, kx, i], axis=[ky, kx])

    size = (count, chunks, *shape.output_size(height, width), block)
    return te.compute(size, term, name="depthwise")


def dense(data: Any, packed: Any, width: int) -> Any:
    """Product of data (…, K) and packed weights.

    Args:
        data: its last axis is K; the axes before it are rows.
        packed: (N/b, K, b) from :func:`pack_dense`.
        width: N.
    """
    from tvm import te

    *rows, depth = (int(d) for d in data.shape)
    chunks, _, block = (int(d) for d in packed.shape)
    k = te.reduce_axis((0, depth), name="k")
    product = te.compute(
        (math.prod(rows), chunks, block),
        lambda m, c, i: te.sum(
            data[(*_unravel(m, rows), k)] * packed[c, k, i], axis=[k]
        ),
        name="dense",
    )  # fmt: skip
    return te.compute(
        (*rows, width),
        lambda *at: product[_ravel(at[:-1], rows), at[-1] // block, at[-1] % block],
        name="dense_out",
    )


def _padded(data: Any, shape: ConvShape, height: int, width: int) -> Any:
    """The input with its border of zeros, or as it is when there is none."""
    from tvm import te, tirx

    rows, columns = shape.input_size(*shape.output_size(height, width))
    top, left = shape.padding[:2]
    if not (top or left) and rows <= height and columns <= width:
        return data

    def value(n: Any, c: Any, y: Any, x: Any, *lane: Any) -> Any:
        inside = [y >= top, y < height + top, x >= left, x < width + left]
        return tirx.if_then_else(
            tirx.all(*inside), data[(n, c, y - top, x - left, *lane)], tirx.const(0, "float32")
        )

    size = (*(int(d) for d in data.shape[:2]), rows, columns, *(int(d) for d in data.shape[4:]))
    return te.compute(size, value, name="conv_pad")


def _unravel(index: Any, shape: Sequence[int]) -> list[Any]:
    """A flat index as one index for each axis."""
    parts: list[Any] = []
    for extent in reversed(shape[1:]):
        parts.insert(0, index % extent)
        index = index // extent
    return [index, *parts] if shape else []


def _ravel(indices: Sequence[Any], shape: Sequence[int]) -> Any:
    """One index for each axis as a flat index."""
    flat: Any = 0
    for index, extent in zip(indices, shape, strict=True):
        flat = flat * extent + index
    return flat
