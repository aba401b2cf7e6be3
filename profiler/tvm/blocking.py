"""What each Relax operator becomes on blocked tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """An expression of the new module, and whether its value is blocked."""

    value: Any
    blocked: bool


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
    from tvm import relax

    data, weight = call.args
    numbers, size = constant(weight), static_shape(data)
    attributes = call.attrs
    layouts = (str(attributes.data_layout), str(attributes.kernel_layout))
    if numbers is None or size is None or str(numbers.dtype) != "float32":
        return None
    if layouts != ("NCHW", "OIHW") or str(attributes.out_layout) != "NCHW":
        return None
    shape = _conv_shape(attributes, numbers.shape, size[1], rewriter.block)
    if shape is None or min(shape.output_size(*size[2:])) < 1:
        return None
    source = rewriter.plain(data) if shape.in_block == 1 else rewriter.blocked(data)
    if shape.groups > 1 and shape.groups == size[1]:
        packed = computes.pack_depthwise(numbers, rewriter.block)
        function, hint = computes.depthwise, "depthwise_conv2d"
    else:
        packed = computes.pack_conv(numbers, shape)
        function, hint = computes.conv, "conv2d"
    made = rewriter.bb.call_te(
        lambda x, w: function(x, w, shape),
        source,
        relax.const(packed),
        primfunc_name_hint=hint,
        primfunc_attrs={"op_pattern": OUT_ELEMENTWISE_FUSABLE},
    )
    return Made(made, True)


def _conv_shape(
    attributes: Any, weight: tuple[int, ...], channels: int, block: int
) -> ConvShape | None:
    """Describe a convolution; None when no blocked form is made for it."""
    groups = int(attributes.groups)
    outs, ins, rows, columns = weight
    depthwise = groups > 1 and groups == channels == outs
    if groups > 1 and not depthwise and (ins % block or (outs // groups) % block):
        return None
    plain = groups == 1 and channels < _PLAIN_INPUT
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
    if size is None or len(size) != 4 or not any(rewriter.is_blocked(a) for a in call.args):
        return None
    arguments = []
    for argument in call.args:
        numbers, extents = constant(argument), static_shape(argument)
        if isinstance(argument, relax.Var):
            if extents is None or len(extents) != 4 or extents[1] != size[1]:
                return None
            arguments.append(("value", argument))
        elif numbers is None:
            arguments.append(("literal", argument))
        elif numbers.size == 1:
            arguments.append(("literal", relax.const(numbers.reshape(()))))
        elif extents is None or numbers.ndim > 4:
            return None
        else:
            spread = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
            if spread.shape[1] not in (1, size[1]):
                return None
            packed = computes.pack_channels(spread, rewriter.block)
            arguments.append(("literal", relax.const(packed)))
    values = [rewriter.blocked(a) if kind == "value" else a for kind, a in arguments]
    return Made(relax.Call(call.op, values, call.attrs, call.ty_args), True)


def _reduction(rewriter: Rewriter, call: Any) -> Made | None:
    """Means, sums and maxima over rows and columns."""
    from tvm import relax

    size = static_shape(call.args[0])
    axes = call.attrs.axis
    if size is None or len(size) != 4 or axes is None or not rewriter.is_blocked(call.args[0]):
        return None
    if sorted(int(a) % 4 for a in axes) != [2, 3]:
        return None
    reduce = {"relax.mean": relax.op.mean, "relax.sum": relax.op.sum, "relax.max": relax.op.max}
    blocked = reduce[str(call.op.name)](rewriter.blocked(call.args[0]), [2, 3], keepdims=True)
    if call.attrs.keepdims:
        return Made(blocked, True)
    whole = rewriter.bb.emit(blocked)
    plain = rewriter.convert(lambda data: computes.to_plain(data, size[1]), whole)
    return Made(relax.op.reshape(plain, size[:2]), False)


def _pool(kind: str) -> Callable[[Rewriter, Any], Made | None]:
    def handler(rewriter: Rewriter, call: Any) -> Made | None:
        from tvm import topi

        data, attributes = call.args[0], call.attrs
        layouts = {str(attributes.layout), str(attributes.out_layout)}
        if not rewriter.is_blocked(data) or layouts != {"NCHW"}:
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
            rewriter.blocked(data),
            primfunc_name_hint=f"{kind}_pool2d",
        )
        return Made(made, True)

    return handler


def _concat(rewriter: Rewriter, call: Any) -> Made | None:
    """Concatenation along channels, when each input fills its blocks."""
    from tvm import relax

    parts = call.args[0]
    if not isinstance(parts, relax.Tuple) or not any(rewriter.is_blocked(p) for p in parts.fields):
        return None
    sizes = [static_shape(part) for part in parts.fields]
    if any(s is None or len(s) != 4 or s[1] % rewriter.block for s in sizes):
        return None
    if call.attrs.axis is None or int(call.attrs.axis) % 4 != 1:
        return None
    if not all(isinstance(part, relax.Var) for part in parts.fields):
        return None
    values = [rewriter.blocked(part) for part in parts.fields]
    return Made(relax.op.concat(values, axis=1), True)


def _matmul(rewriter: Rewriter, call: Any) -> Made | None:
    """A product with a constant matrix, on packed weights."""
    from tvm import relax

    data, weight = call.args
    numbers, size = constant(weight), static_shape(data)
    if numbers is None or size is None or numbers.ndim != 2 or str(numbers.dtype) != "float32":
        return None
    if len(size) < 2 or constant(data) is not None or 0 in size or 0 in numbers.shape:
        return None
    width = int(numbers.shape[1])
    block = _dense_block(width, rewriter.block)
    made = rewriter.bb.call_te(
        lambda x, w: computes.dense(x, w, width),
        rewriter.replaced(data),
        relax.const(computes.pack_dense(numbers, block)),
        primfunc_name_hint="dense",
        primfunc_attrs={"op_pattern": OUT_ELEMENTWISE_FUSABLE},
    )
    return Made(made, False)


def _dense_block(width: int, lanes: int) -> int:
    """Columns in a block: a vector, or half or a quarter where that leaves no remainder."""
    return next((b for b in (lanes, lanes // 2, lanes // 4) if b > 1 and width % b == 0), lanes)


def _reshape(rewriter: Rewriter, call: Any) -> Made | None:
    """A reshape to the shape that the value has already is no work."""
    from tvm import relax

    size = static_shape(call.args[0])
    if size is None or size != static_shape(call) or not isinstance(call.args[0], relax.Var):
        return None
    if rewriter.is_blocked(call.args[0]):
        return Made(rewriter.blocked(call.args[0]), True)
    return Made(rewriter.plain(call.args[0]), False)


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
