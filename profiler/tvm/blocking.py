"""What each Relax operator becomes on blocked tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from lwprof.profiler.tvm import computes
from lwprof.profiler.tvm.computes import ConvShape
from lwprof.profiler.tvm.expressions import constant, static_shape

if TYPE_CHECKING:
    from lwprof.profiler.tvm.layout import Rewriter

#: TVM's number for an operator into which elementwise ones that follow may be fused.
OUT_ELEMENTWISE_FUSABLE = 4
#: Below this many input channels a convolution reads NCHW directly.
_PLAIN_INPUT = 8
#: Operators that work on each element alone, whatever the layout.
_ELEMENTWISE = frozenset(
    "relax." + name
    for name in [
        "add",
        "subtract",
        "multiply",
        "divide",
        "maximum",
        "minimum",
        "power",
        "clip",
        "abs",
        "negative",
        "exp",
        "erf",
        "ceil",
        "floor",
        "round",
        "sqrt",
        "square",
        "sigmoid",
        "tanh",
        "sign",
        "nn.relu",
        "nn.leakyrelu",
        "nn.gelu",
        "nn.gelu_tanh",
        "nn.silu",
        "nn.softplus",
    ]
)


@dataclass(frozen=True, slots=True)
class Made:
    """An expression of the new module.

    Attributes:
        value: the expression.
        groups: groups of channels that fill blocks of their own; 0 for a plain value.
    """

    value: Any
    groups: int


def rewrite(rewriter: Rewriter, call: Any) -> Made | None:
    """Rewrite one call.

    Args:
        rewriter: holds both forms of each value.
        call: a ``relax.Call`` of the old module.

    Returns:
        The call to bind instead; None to keep it on plain values.
    """
    name = str(getattr(call.op, "name", ""))
    if name in _ELEMENTWISE:
        return _elementwise(rewriter, call)
    handler = _HANDLERS.get(name)
    return handler(rewriter, call) if handler else None


def _conv(rewriter: Rewriter, call: Any) -> Made | None:
    data, weight = call.args
    numbers, size = constant(weight), static_shape(data)
    attributes = call.attrs
    layouts = (str(attributes.data_layout), str(attributes.kernel_layout))
    if numbers is None or size is None or str(numbers.dtype) != "float32":
        return None
    if layouts != ("NCHW", "OIHW") or str(attributes.out_layout) != "NCHW":
        return None
    groups = int(attributes.groups)
    if groups > 1 and numbers.shape[1] == 1 and numbers.shape[0] < groups * rewriter.block:
        return _depthwise(rewriter, attributes, data, numbers)
    merged = _merged_groups(numbers, groups, rewriter.block)
    if merged > 1:
        numbers, groups = computes.merge_groups(numbers, groups, merged), groups // merged
    shape = _conv_shape(attributes, numbers.shape, groups, rewriter.block)
    if min(shape.output_size(*size[2:])) < 1:
        return None
    source = rewriter.plain(data) if shape.in_block == 1 else rewriter.blocked(data)
    packed = computes.pack_conv(numbers, shape)
    made = _fusable(rewriter, lambda x, w: computes.conv(x, w, shape), source, packed, "conv2d")
    return Made(made, 1 if numbers.shape[0] // groups % rewriter.block == 0 else groups)


def _depthwise(rewriter: Rewriter, attributes: Any, data: Any, weight: NDArray[Any]) -> Made | None:
    """Each output channel reads one input channel; with a multiplier, several read the same."""
    groups, outs = int(attributes.groups), int(weight.shape[0])
    shape = _conv_shape(attributes, weight.shape, outs, rewriter.block)
    if min(shape.output_size(*(static_shape(data) or ())[2:])) < 1:
        return None
    if outs == groups:
        source = rewriter.blocked(data)
    else:
        wide = rewriter.convert(
            lambda x: computes.to_blocked(
                computes.repeat_channels(x, outs // groups), rewriter.block, 1
            ),
            rewriter.plain(data),
        )
        source = wide
    packed = computes.pack_depthwise(weight, rewriter.block)
    function = functools.partial(computes.depthwise, shape=shape)
    return Made(_fusable(rewriter, function, source, packed, "depthwise_conv2d"), 1)


def _fusable(
    rewriter: Rewriter, function: Callable[[Any, Any], Any], data: Any, packed: Any, name: str
) -> Any:
    """A call of our own tensor expression, into which elementwise operators may be fused."""
    from tvm import relax

    return rewriter.bb.call_te(
        lambda x, w: function(x, w),
        data,
        relax.const(packed),
        primfunc_name_hint=name,
        primfunc_attrs={"op_pattern": OUT_ELEMENTWISE_FUSABLE},
    )


def _merged_groups(weight: NDArray[Any], groups: int, block: int) -> int:
    """Groups to merge so that their channels fill blocks; 1 where that costs more than padding.

    Merging m groups multiplies the sums by m, padding by the lanes left empty.
    """
    outs, ins = weight.shape[0] // groups, weight.shape[1]
    padding = computes.blocks(outs, block) * block / outs
    fits = (
        m for m in range(1, groups + 1)
        if groups % m == 0 and outs * m % block == 0 and ins * m % block == 0
    )  # fmt: skip
    merged = next(fits, 0)
    return merged if 1 < merged <= padding else 1


def _conv_shape(attributes: Any, weight: tuple[int, ...], groups: int, block: int) -> ConvShape:
    """Describe a convolution; few or odd input channels are read from NCHW."""
    outs, ins, rows, columns = weight
    plain = ins % block if groups > 1 else ins < _PLAIN_INPUT
    top, left, bottom, right = (int(p) for p in attributes.padding)
    return ConvShape(
        weight=(outs, ins, rows, columns),
        strides=(int(attributes.strides[0]), int(attributes.strides[1])),
        padding=(top, left, bottom, right),
        dilation=(int(attributes.dilation[0]), int(attributes.dilation[1])),
        groups=groups,
        block=block,
        in_block=1 if plain else block,
    )


def _elementwise(rewriter: Rewriter, call: Any) -> Made | None:
    """Keep an elementwise operator blocked when one of its inputs is."""
    from tvm import relax

    size = static_shape(call)
    forms = [groups for argument in call.args for groups in rewriter.groups(argument)]
    if size is None or len(size) != 4 or not forms:
        return None
    groups = min(forms)
    arguments: list[Any] = []
    for argument in call.args:
        if isinstance(argument, relax.Var):
            extents = static_shape(argument)
            if extents is None or len(extents) != 4 or extents[1] != size[1]:
                return None
            arguments.append(argument)
        else:
            packed = _packed_operand(argument, size[1], rewriter.block, groups)
            if packed is None:
                return None
            arguments.append(packed)
    values = [rewriter.blocked(a, groups) if isinstance(a, relax.Var) else a for a in arguments]
    return Made(relax.Call(call.op, values, call.attrs, call.ty_args), groups)


def _packed_operand(argument: Any, channels: int, block: int, groups: int) -> Any | None:
    """A constant operand on blocked channels, or anything else as it is; None if neither."""
    from tvm import relax

    numbers = constant(argument)
    if numbers is None:
        return argument
    if numbers.size == 1:
        return relax.const(numbers.reshape(()))
    if static_shape(argument) is None or numbers.ndim > 4:
        return None
    spread = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
    if spread.shape[1] not in (1, channels):
        return None
    return relax.const(computes.pack_channels(spread, block, groups))


def _reduction(rewriter: Rewriter, call: Any) -> Made | None:
    """Means, sums and maxima over rows and columns."""
    from tvm import relax

    size = static_shape(call.args[0])
    axes = call.attrs.axis
    forms = rewriter.groups(call.args[0])
    if size is None or len(size) != 4 or axes is None or not forms:
        return None
    if sorted(int(a) % 4 for a in axes) != [2, 3]:
        return None
    reduce = {"relax.mean": relax.op.mean, "relax.sum": relax.op.sum, "relax.max": relax.op.max}
    value = rewriter.blocked(call.args[0], forms[0])
    blocked = reduce[str(call.op.name)](value, [2, 3], keepdims=True)
    if call.attrs.keepdims:
        return Made(blocked, forms[0])
    whole = rewriter.bb.emit(blocked)
    plain = rewriter.convert(lambda data: computes.to_plain(data, size[1], forms[0]), whole)
    return Made(relax.op.reshape(plain, size[:2]), 0)


def _pool(kind: str) -> Callable[[Rewriter, Any], Made | None]:
    def handler(rewriter: Rewriter, call: Any) -> Made | None:
        from tvm import topi

        data, attributes = call.args[0], call.attrs
        layouts = {str(attributes.layout), str(attributes.out_layout)}
        forms = rewriter.groups(data)
        if not forms or layouts != {"NCHW"}:
            return None
        made = rewriter.bb.call_te(
            lambda x: topi.nn.pool2d(
                x,
                kernel=attributes.pool_size,
                stride=attributes.strides,
                dilation=attributes.dilation,
                padding=attributes.padding,
                pool_type=kind,
                ceil_mode=attributes.ceil_mode,
                layout=f"NCHW{rewriter.block}c",
                count_include_pad=attributes.count_include_pad,
            ),
            rewriter.blocked(data, forms[0]),
            primfunc_name_hint=f"{kind}_pool2d",
        )
        return Made(made, forms[0])

    return handler


def _concat(rewriter: Rewriter, call: Any) -> Made | None:
    """Concatenation along channels, when each input fills its blocks."""
    from tvm import relax

    parts = call.args[0]
    if not isinstance(parts, relax.Tuple) or not any(1 in rewriter.groups(p) for p in parts.fields):
        return None
    sizes = [static_shape(part) for part in parts.fields]
    if any(s is None or len(s) != 4 or s[1] % rewriter.block for s in sizes):
        return None
    if call.attrs.axis is None or int(call.attrs.axis) % 4 != 1:
        return None
    if not all(isinstance(part, relax.Var) for part in parts.fields):
        return None
    values = [rewriter.blocked(part) for part in parts.fields]
    return Made(relax.op.concat(values, axis=1), 1)


def _matmul(rewriter: Rewriter, call: Any) -> Made | None:
    """A product with a constant matrix, on packed weights."""

    data, weight = call.args
    numbers, size = constant(weight), static_shape(data)
    if numbers is None or size is None or numbers.ndim != 2 or str(numbers.dtype) != "float32":
        return None
    if len(size) < 2 or constant(data) is not None or 0 in size or 0 in numbers.shape:
        return None
    width = int(numbers.shape[1])
    block = _dense_block(width, rewriter.block)
    packed = computes.pack_dense(numbers, block)
    function = functools.partial(computes.dense, width=width)
    return Made(_fusable(rewriter, function, rewriter.replaced(data), packed, "dense"), 0)


def _dense_block(width: int, lanes: int) -> int:
    """Columns in a block: a vector, or half or a quarter where that leaves no remainder."""
    return next((b for b in (lanes, lanes // 2, lanes // 4) if b > 1 and width % b == 0), lanes)


def _reshape(rewriter: Rewriter, call: Any) -> Made | None:
    """A reshape to the shape that the value has already is no work."""
    from tvm import relax

    size = static_shape(call.args[0])
    if size is None or size != static_shape(call) or not isinstance(call.args[0], relax.Var):
        return None
    for groups in rewriter.groups(call.args[0]):
        return Made(rewriter.blocked(call.args[0], groups), groups)
    return Made(rewriter.plain(call.args[0]), 0)


_HANDLERS: dict[str, Callable[[Rewriter, Any], Made | None]] = {
    "relax.nn.conv2d": _conv,
    "relax.nn.max_pool2d": _pool("max"),
    "relax.nn.avg_pool2d": _pool("avg"),
    "relax.mean": _reduction,
    "relax.sum": _reduction,
    "relax.max": _reduction,
    "relax.concat": _concat,
    "relax.matmul": _matmul,
    "relax.reshape": _reshape,
}
