"""The survey's cheaper structures beside what they stand for, with their analytic costs.

Each pair maps the same input to an output of the same shape. Weights are not related: the
pairs compare cost, they do not claim equal results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lwprof.zoo.registry import draw

if TYPE_CHECKING:
    from lwprof.zoo.builder import Net, Pair, Value

    _Layer = Callable[[Net, Value], Value]


@dataclass(frozen=True, slots=True)
class Substitution:
    """A structure and its cheaper form.

    Attributes:
        name: what is substituted.
        formula: MACs of the replacement over those of the original, in words of the survey.
        ratio: the same as a number, for the shapes of this pair.
        original: ModelProto of the structure as it was.
        replacement: ModelProto of the cheaper form.
    """

    name: str
    formula: str
    ratio: float
    original: Any = field(repr=False)
    replacement: Any = field(repr=False)


def substitutions(channels: int = 64, resolution: int = 28) -> tuple[Substitution, ...]:
    """The pairs of the survey on maps of ``channels`` × ``resolution``².

    Args:
        channels: N, inputs and outputs of the convolution; a multiple of 8.
        resolution: height and width of the maps in pixels.
    """
    n = channels

    def pair(name: str, formula: str, ratio: float, *forms: list[_Layer]) -> Substitution:
        original, replacement = (
            draw(_chain, name=name, layers=layers, channels=n, resolution=resolution)
            for layers in forms
        )
        return Substitution(name, formula, ratio, original, replacement)

    def conv(kernel: Pair, out: int = n, groups: int = 1) -> _Layer:
        return lambda net, x: net.conv(x, out, kernel, groups=groups)

    def copied(net: Net, x: Value) -> list[Value]:
        return [x, net.conv(x, n, 3, groups=n)]

    return (
        pair("depthwise_separable", "1/N + 1/k²", 1 / n + 1 / 9,
             [conv(3)], [conv(3, groups=n), conv(1)]),
        *(pair(f"groups_{g}", f"1/g, g = {g}", 1 / g, [conv(3)], [conv(3, groups=g)])
          for g in (2, 4, 8)),
        pair("small_kernels_5", "2·3²/5², 28 % saved", 18 / 25, [conv(5)], [conv(3)] * 2),
        pair("small_kernels_7", "3·3²/7², 45 % saved", 27 / 49, [conv(7)], [conv(3)] * 3),
        pair("reduction_1x1", "(1/r)(1 + 1/k²), r = 4", 0.25 * (1 + 1 / 9),
             [conv(3)], [conv(1, n // 4), conv(3)]),
        pair("separable_kernel", "2/k, k = 15", 2 / 15, [conv(15)], [conv((1, 15)), conv((15, 1))]),
        # A ghost module and RepGhost's, each with the 1×1 that reads it; Concat and Add have no
        # MACs, but move 4 and 3 maps.
        pair("concat_to_add", "(N + k²)/(2N + k²)", (n + 9) / (2 * n + 9),
             [lambda net, x: net.concat(copied(net, x)), conv(1)],
             [lambda net, x: net.add(*copied(net, x)), conv(1)]),
    )  # fmt: skip


def _chain(net: Net, layers: list[_Layer], channels: int) -> Value:
    x = net.image(channels)
    for layer in layers:
        x = layer(net, x)
    return x
