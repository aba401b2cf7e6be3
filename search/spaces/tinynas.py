"""TinyNAS's space (arXiv 2007.10319): inverted residuals at 12 resolutions × 9 widths.

Each resolution and width is a space of its own (``TinyNas.within``); which one to search is
chosen by the MACs of its networks that fit the memory: ``strategies.choose_space``.

MACs, flash and peak activation memory are computed for many codes at once, for int8 networks
with batch normalisation folded: a byte for every weight and activation, four for a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.predictors.space import Codes, Floats
from lwprof.search.spaces.options import OptionSpace
from lwprof.zoo.blocks import RESIDUAL, Net, Value, classifier

RESOLUTIONS = tuple(range(48, 225, 16))
WIDTHS = tuple(round(0.2 + 0.1 * i, 1) for i in range(9))
STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (160, 2))
"""Channels at width 1 and stride of the five stages of variable depth."""
STEM, FIRST, LAST, LAYERS, CLASSES = 32, 16, 320, 4, 1000
DEPTHS = (2, 3, 4)
BLOCKS = tuple(f"k{k}_e{e}" for k in (3, 5, 7) for e in (3, 4, 6))


@dataclass(frozen=True, slots=True)
class Footprint:
    """What networks need, each (n,).

    Attributes:
        macs: multiply-accumulates of one inference.
        peak_memory_bytes: activations that exist at once, int8, the largest over all kernels.
        flash_bytes: int8 weights and int32 biases.
    """

    macs: Floats
    peak_memory_bytes: Floats
    flash_bytes: Floats


class TinyNas(OptionSpace):
    """Resolution, width, five depths and 21 blocks ``k3_e3`` … ``k7_e6``."""

    name = "tinynas"
    rewrites = ("none", "bwd")

    def __init__(self) -> None:
        blocks: dict[str, Any] = {"resolution": RESOLUTIONS, "width": WIDTHS}
        blocks |= {f"depth{s}": DEPTHS for s in range(len(STAGES))}
        blocks |= {f"block{s}_{i}": BLOCKS for s in range(len(STAGES)) for i in range(LAYERS)}
        super().__init__(blocks | {"block5_0": BLOCKS})

    def within(self, resolution: int, width: float, n: int, rng: np.random.Generator) -> Codes:
        """``n`` random codes of one resolution and width.

        Raises:
            ValueError: the space has no such resolution or width.
        """
        codes = self.sample(n, rng)
        codes[:, 0], codes[:, 1] = RESOLUTIONS.index(resolution), WIDTHS.index(width)
        return codes

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """After ``bwd``, blocks beyond a stage's depth are the first choice."""
        self._known(rewrite)
        if rewrite == "none":
            return codes
        out = codes.copy()
        for stage in range(len(STAGES)):
            for i in range(LAYERS):
                column = 7 + LAYERS * stage + i
                out[:, column] = np.where(i < 2 + codes[:, 2 + stage], codes[:, column], 0)
        return out

    def footprint(self, codes: Codes, classes: int = CLASSES) -> Footprint:
        """MACs, peak activation memory and flash of every code."""
        known = self.check(codes)
        tally = _Tally(len(known))
        side = np.asarray(RESOLUTIONS, dtype=float)[known[:, 0]]
        width = np.asarray(WIDTHS)[known[:, 1]]
        stem, x = _rounded(STEM * width), np.full(len(known), 3.0)
        after = np.ceil(side / 2)
        tally.kernel(27 * stem, stem, after, x * side**2, stem * after**2, 0.0)
        side, x = after, stem
        x, side = tally.residual(x, side, _rounded(FIRST * width), stem, 3, 1, True)
        for stage, (channels, stride) in enumerate(STAGES):
            for i in range(LAYERS):
                used = i < 2 + known[:, 2 + stage]
                block = known[:, 7 + LAYERS * stage + i]
                x, side = tally.block(x, side, _rounded(channels * width), block,
                                      1 if i else stride, used)  # fmt: skip
        x, side = tally.block(x, side, _rounded(LAST * width), known[:, -1], 1, True)
        tally.kernel(x * classes, float(classes), 1.0, x, classes, 0.0)
        return Footprint(tally.macs, np.maximum(tally.peak, x * side**2 + x), tally.flash)

    def size(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The resolution is part of the architecture."""
        return {"resolution": values["resolution"]}

    def draw(self, net: Net, **values: Any) -> Value:
        """The network as it is deployed: batch normalisation folded into biases."""
        wide = values["width"]
        x = net.act(net.conv(net.image(), int(_rounded(STEM * wide)), 3, 2, bias=True), "relu6")
        x = _residual(net, x, int(_rounded(FIRST * wide)), x.channels, 3, 1)
        for stage, (channels, stride) in enumerate(STAGES):
            for i in range(values[f"depth{stage}"]):
                x = _named(net, x, channels * wide, values[f"block{stage}_{i}"], 1 if i else stride)
        return classifier(net, _named(net, x, LAST * wide, values["block5_0"], 1))


def _rounded(channels: Any) -> Floats:
    """MobileNet's rule for arrays: multiples of 8, never less than 90 %."""
    wanted = np.asarray(channels, dtype=float)
    near = np.maximum(8.0, np.floor((wanted + 4) / 8) * 8)
    found: Floats = np.where(near >= 0.9 * wanted, near, near + 8)
    return found


def _named(net: Net, x: Value, channels: float, block: str, stride: int) -> Value:
    return _residual(net, x, int(_rounded(channels)), int(block[4]) * x.channels, int(block[1]),
                     stride)  # fmt: skip


def _residual(net: Net, x: Value, out: int, hidden: int, kernel: int, stride: int) -> Value:
    y = x
    if hidden != x.channels:
        y = net.act(net.conv(y, hidden, 1, bias=True), "relu6")
    y = net.act(net.conv(y, hidden, kernel, stride, groups=hidden, bias=True), "relu6")
    same = stride == 1 and out == x.channels
    gain, net.gain = net.gain, RESIDUAL if same else net.gain
    y = net.conv(y, out, 1, bias=True)
    net.gain = gain
    return net.add(x, y) if same else y


class _Tally:
    """Sums MACs and bytes kernel by kernel, and keeps the largest live set."""

    def __init__(self, n: int) -> None:
        self.macs, self.flash, self.peak = np.zeros(n), np.zeros(n), np.zeros(n)

    def kernel(self, weights: Any, biases: Any, side: Any, reads: Any, writes: Any, held: Any,
               used: Any = True) -> None:  # fmt: skip
        """A kernel with a map of ``side`` × ``side`` per weight; ``held`` bytes wait beside it."""
        self.macs += np.where(used, weights * side**2, 0.0)
        self.flash += np.where(used, weights + 4 * biases, 0.0)
        self.peak = np.where(used, np.maximum(self.peak, reads + writes + held), self.peak)

    def block(self, x: Floats, side: Floats, out: Floats, block: Codes, stride: int,
              used: Any) -> tuple[Floats, Floats]:  # fmt: skip
        """An inverted residual whose kernel and expansion are a choice of BLOCKS."""
        kernel = np.array([int(b[1]) for b in BLOCKS])[block]
        hidden = x * np.array([int(b[4]) for b in BLOCKS])[block]
        return self.residual(x, side, out, hidden, kernel, stride, used)

    def residual(self, x: Floats, side: Floats, out: Floats, hidden: Any, kernel: Any, stride: int,
                 used: Any) -> tuple[Floats, Floats]:  # fmt: skip
        after = np.ceil(side / stride)
        first, wide, thin = x * side**2, hidden * side**2, hidden * after**2
        held = np.where((stride == 1) & (out == x), first, 0.0)
        expands = (hidden != x) & np.asarray(used)
        self.kernel(x * hidden, hidden, side, first, wide, 0.0, expands)
        shortcut = np.where(hidden != x, held, 0.0)  # without expansion the input is held anyway
        self.kernel(hidden * kernel**2, hidden, after, wide, thin, shortcut, used)
        self.kernel(hidden * out, out, after, thin, out * after**2, held, used)
        return np.where(used, out, x), np.where(used, after, side)
