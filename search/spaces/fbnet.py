"""FBNet (arXiv 1812.03443): 22 layers, each one of nine blocks.

Counts are of the CIFAR-100 network of the public latency tables (32 × 32 images, first stage
at full size), whose layers have the published channels; ``build`` draws the ImageNet network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lwprof.predictors.space import Codes, Counts, Floats, one_hot
from lwprof.search.spaces.coded import CodedSpace

if TYPE_CHECKING:
    import onnx

BLOCKS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
SKIP = BLOCKS.index("skip")
STAGES = ((16, 1, 1), (24, 4, 1), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
HEAD = 1504
PARTS = ("pointwise", "depthwise", "traffic", "kernels")


class FBNet(CodedSpace):
    """22 digits 0 to 8, one per layer."""

    name = "fbnet"
    choices = (9,) * 22
    spelling = "as 22 digits, 0 to 8 for k3_e1, k3_e1_g2, k3_e3, k3_e6, k5_e1 … k5_e6, skip"

    def __init__(self) -> None:
        self._parts = _layer_parts()  # (22, 9, 4)

    def _parse(self, architecture: Any) -> Sequence[int]:
        if isinstance(architecture, str) and not architecture.isdigit():
            return [BLOCKS.index(block) for block in architecture.replace(",", " ").split()]
        if isinstance(architecture, int | np.integer):
            architecture = f"{architecture:022d}"
        if len(architecture) != 22:
            raise ValueError
        return [int(choice) for choice in architecture]

    def _write(self, code: Sequence[int]) -> str:
        return "".join(str(choice) for choice in code)

    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """Sums of what the layers hold, counts of the nine blocks, and each layer's MACs."""
        self._known(rewrite)
        parts = self._parts[np.arange(22), codes]  # (n, 22, 4)
        macs = parts[:, :, :2].sum(axis=2)
        blocks = (codes[:, :, None] == np.arange(9)).sum(axis=1)
        values = np.concatenate([parts.sum(axis=1), macs.sum(axis=1)[:, None], blocks, macs], 1)
        names = (*PARTS, "mmacs", *BLOCKS, *(f"mmacs_{layer}" for layer in range(22)))
        return Counts(values, names)

    def mmacs(self, codes: Codes) -> Floats:
        """Multiply-accumulates of the whole network in millions."""
        side = 4
        fixed = 3 * 16 * 9 * 32**2 + STAGES[-1][0] * HEAD * side**2 + HEAD * 100
        total: Floats = one_hot(codes, self.choices) @ self._parts[:, :, :2].sum(axis=2).ravel()
        return total + fixed / 1e6

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The ImageNet network with these blocks."""
        from lwprof.zoo import draw
        from lwprof.zoo.families.fbnet import fbnet

        code = self.encode([architecture])[0]
        model: onnx.ModelProto = draw(fbnet, choices=" ".join(BLOCKS[c] for c in code))
        return model


def layers() -> list[tuple[int, int, int, int]]:
    """(channels in, channels out, side in, stride) of the 22 layers."""
    found, channels, side = [], 16, 32
    for out, repeats, first in STAGES:
        for repeat in range(repeats):
            stride = 1 if repeat else first
            found.append((channels, out, side, stride))
            channels, side = out, side // stride
    return found


def _layer_parts() -> Floats:
    """(22, 9, 4): millions of pointwise and depthwise MACs, millions of elements moved, kernels."""
    parts = np.zeros((22, 9, 4))
    for layer, (cin, cout, side, stride) in enumerate(layers()):
        after = side // stride
        for block, name in enumerate(BLOCKS[:SKIP]):
            kernel, expansion, groups = int(name[1]), int(name[4]), 2 if "g2" in name else 1
            hidden = cin * expansion
            pointwise = cin * hidden / groups * side**2 + hidden * cout / groups * after**2
            depthwise = hidden * kernel**2 * after**2
            traffic = (cin + 2 * hidden) * side**2 + (2 * hidden + cout) * after**2
            kernels = 3 + 2 * (groups - 1)
            parts[layer, block] = pointwise / 1e6, depthwise / 1e6, traffic / 1e6, kernels
        if stride > 1 or cin != cout:
            moved = cin * side**2 + cout * after**2
            parts[layer, SKIP] = cin * cout * after**2 / 1e6, 0, moved / 1e6, 1
    return parts
