"""Once-for-all's MobileNetV3 (arXiv 1908.09791): resolution, depths, kernels, expansions.

A code has 46 blocks: the resolution (128 to 224 in steps of 4), five depths (2, 3, 4), twenty
kernels (3, 5, 7) and twenty expansions (3, 4, 6), four per stage. Kernels and expansions of
layers beyond a stage's depth do nothing: ``live`` sets them to the first choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lwprof.predictors.space import Codes, Counts, Floats
from lwprof.search.spaces.coded import CodedSpace

if TYPE_CHECKING:
    import onnx

RESOLUTIONS = tuple(range(128, 225, 4))
DEPTHS, KERNELS, EXPANSIONS = (2, 3, 4), (3, 5, 7), (3, 4, 6)
STAGES = ((24, 2, 0), (40, 2, 1), (80, 2, 0), (112, 1, 1), (160, 2, 1))  # channels, stride, gate


class OfaMobileNetV3(CodedSpace):
    """``r224-d44444-k77777777777777777777-e66666666666666666666`` or the four parts."""

    name = "ofa_mobilenet_v3"
    choices = (len(RESOLUTIONS), *(3,) * 45)
    rewrites = ("none",)
    spelling = "r224-d44444-k (20 digits 3, 5, 7)-e (20 digits 3, 4, 6), or as those four parts"

    def _parse(self, architecture: Any) -> Sequence[int]:
        if isinstance(architecture, str):
            letters = [part[0] for part in architecture.split("-")]
            if letters != ["r", "d", "k", "e"]:
                raise ValueError
            architecture = [part[1:] for part in architecture.split("-")]
        if isinstance(architecture, Mapping):
            architecture = [architecture[k] for k in ("resolution", "depths", "kernels",
                                                      "expansions")]  # fmt: skip
        if len(architecture) == 46:
            return [int(choice) for choice in architecture]
        resolution, *parts = architecture
        lists = [[int(d) for d in (str(p) if isinstance(p, int) else p)] for p in parts]
        if [len(part) for part in lists] != [5, 20, 20]:
            raise ValueError
        wanted = zip(lists, (DEPTHS, KERNELS, EXPANSIONS), strict=True)
        return [
            RESOLUTIONS.index(int(resolution)),
            *(options.index(value) for part, options in wanted for value in part),
        ]

    def _write(self, code: Sequence[int]) -> str:
        resolution, depths, kernels, expansions = self._values(code)
        parts = [depths, kernels, expansions]
        text = "-".join(k + "".join(map(str, p)) for k, p in zip("dke", parts, strict=True))
        return f"r{resolution}-{text}"

    @staticmethod
    def _values(code: Sequence[int]) -> tuple[int, list[int], list[int], list[int]]:
        return (
            RESOLUTIONS[code[0]], [DEPTHS[c] for c in code[1:6]],
            [KERNELS[c] for c in code[6:26]], [EXPANSIONS[c] for c in code[26:]],
        )  # fmt: skip

    def distinct(self) -> int:
        """How many networks differ in what they run: for each stage Σ 9^depth."""
        stage: int = sum(9**d for d in DEPTHS)
        return len(RESOLUTIONS) * stage**5

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """Codes whose unused kernels and expansions are the first choice."""
        self._known(rewrite)
        used = _used(codes)
        kept = np.concatenate([np.ones((len(codes), 6), dtype=bool), used, used], axis=1)
        return np.where(kept, codes, 0)

    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """Sums over layers, layers of each kernel and expansion, and MACs per stage."""
        self._known(rewrite)
        used = _used(codes)
        parts = self._parts(codes) * used[:, :, None]  # (n, 20, 3)
        side = np.asarray(RESOLUTIONS, dtype=float)[codes[:, 0]]
        layers = [
            (used & (codes[:, 6 + 20 * which : 26 + 20 * which] == choice)).sum(axis=1)
            for which in (0, 1) for choice in range(3)
        ]  # fmt: skip
        macs = parts[:, :, :2].sum(axis=2).reshape(len(codes), 5, 4).sum(axis=2)
        stem = (3 * 16 * 9 + 16 * 9 + 16 * 16) * (side / 2) ** 2 / 1e6
        columns = [parts.sum(axis=1), macs, np.stack([stem, (side / 32) ** 2, *layers], axis=1)]
        names = (
            "pointwise", "depthwise", "traffic", *(f"mmacs_{stage}" for stage in range(5)), "stem",
            "positions", *(f"k{k}" for k in KERNELS), *(f"e{e}" for e in EXPANSIONS),
        )  # fmt: skip
        return Counts(np.concatenate(columns, axis=1), names)

    @staticmethod
    def _parts(codes: Codes) -> Floats:
        """(n, 20, 3): millions of pointwise and depthwise MACs and of elements moved, if used."""
        side = np.asarray(RESOLUTIONS, dtype=float)[codes[:, 0]] / 2
        kernels = np.asarray(KERNELS, dtype=float)[codes[:, 6:26]]
        expansions = np.asarray(EXPANSIONS, dtype=float)[codes[:, 26:46]]
        parts, channels = np.empty((len(codes), 20, 3)), 16
        for stage, (out, stride, _) in enumerate(STAGES):
            for layer in range(4 * stage, 4 * stage + 4):
                after = np.ceil(side / stride) if layer % 4 == 0 else side
                hidden = channels * expansions[:, layer]
                point = channels * hidden * side**2 + hidden * out * after**2
                parts[:, layer, 0] = point / 1e6
                parts[:, layer, 1] = hidden * (kernels[:, layer] * after) ** 2 / 1e6
                moved = (channels + 2 * hidden) * side**2 + (2 * hidden + out) * after**2
                parts[:, layer, 2] = moved / 1e6
                channels, side = out, after
        return parts

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The network: 1,000 classes at the architecture's resolution."""
        from lwprof.zoo import draw
        from lwprof.zoo.families.ofa import ofa_mobilenet_v3

        code = self.encode([architecture])[0].tolist()
        resolution, depths, kernels, expansions = self._values(code)
        model: onnx.ModelProto = draw(
            ofa_mobilenet_v3, resolution=resolution, depths=depths, kernels=kernels,
            expansions=expansions,
        )  # fmt: skip
        return model


def _used(codes: Codes) -> Any:
    """(n, 20): layers within their stage's depth."""
    depths = np.asarray(DEPTHS)[codes[:, 1:6]]
    return (np.arange(4) < depths[:, :, None]).reshape(len(codes), 20)
