"""The space of the digits search: one definition draws ONNX graphs and trains in PyTorch.

Six blocks on 8×8 images, each an inverted residual of a kernel and an expansion, or nothing
where input and output have the same shape.
"""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lwprof.search.spaces.options import OptionSpace

STEM, HEAD, CLASSES, SIDE = 16, 96, 10, 8
LAYERS = ((16, 1), (24, 1), (24, 1), (32, 2), (32, 1), (48, 1))
"""Channels and stride of the blocks."""
OPTIONS = ("k3_e1", "k3_e2", "k3_e4", "k5_e2", "k5_e4")


def layers() -> list[tuple[int, int, int]]:
    """(channels in, channels out, stride) of the blocks."""
    found, channels = [], STEM
    for out, stride in LAYERS:
        found.append((channels, out, stride))
        channels = out
    return found


class Block(nn.Module):
    """1×1 up, depthwise, 1×1 down; batch normalisation behind each; a shortcut where it fits."""

    def __init__(self, cin: int, cout: int, stride: int, option: str) -> None:
        super().__init__()
        kernel, hidden = int(option[1]), int(option[4]) * cin
        parts = [*unit(cin, hidden, 1), nn.ReLU()] if hidden != cin else []
        parts += [*unit(hidden, hidden, kernel, stride, hidden), nn.ReLU(), *unit(hidden, cout, 1)]
        self.body, self.shortcut = nn.Sequential(*parts), stride == 1 and cin == cout

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        return x + y if self.shortcut else y


def unit(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution and its batch normalisation."""
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(cout)]


def stem() -> nn.Module:
    """1 → 16 channels."""
    return nn.Sequential(*unit(1, STEM, 3), nn.ReLU())


def head() -> nn.Module:
    """1×1 to 96 channels, mean, ten classes."""
    return nn.Sequential(*unit(LAYERS[-1][0], HEAD, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(HEAD, CLASSES))  # fmt: skip


def choice(cin: int, cout: int, stride: int, option: str) -> nn.Module:
    """One path of a block."""
    return nn.Identity() if option == "skip" else Block(cin, cout, stride, option)


class Digits(OptionSpace):
    """Six blocks; ``skip`` where shapes allow."""

    name = "digits"

    def __init__(self) -> None:
        super().__init__({
            f"block{i}": OPTIONS + (("skip",) if stride == 1 and cin == cout else ())
            for i, (cin, cout, stride) in enumerate(layers())
        })  # fmt: skip

    def module(self, code: Any) -> nn.Module:
        """The architecture as an untrained module."""
        names = list(self.values([int(c) for c in code]).values())
        parts = [choice(*layer, option) for layer, option in zip(layers(), names, strict=True)]
        return nn.Sequential(stem(), *parts, head())

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The architecture with random weights, as the table is measured on."""
        torch.manual_seed(0)
        return to_onnx(self.module(self.encode([architecture])[0]).eval())


def to_onnx(module: nn.Module) -> onnx.ModelProto:
    """A trained module as ONNX, batch normalisation folded into the convolutions."""
    graph = _Writer()
    end = graph.write(module, "image")
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in (("image", (1, 1, SIDE, SIDE)), (end, (1, CLASSES)))]  # fmt: skip
    made = helper.make_graph(graph.nodes, "digits", shapes[:1], shapes[1:], graph.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def write(self, module: nn.Module, x: str) -> str:
        """Nodes of a module that reads ``x``; the name of what it makes."""
        if isinstance(module, Block):
            y = self.write(module.body, x)
            return self._node("Add", [x, y]) if module.shortcut else y
        if isinstance(module, nn.Sequential):
            parts = list(module)
            for i, part in enumerate(parts):
                if isinstance(part, nn.Conv2d):
                    x = self._conv(part, parts[i + 1], x)
                elif not isinstance(part, nn.BatchNorm2d):
                    x = self.write(part, x)
            return x
        if isinstance(module, nn.Linear):
            names = [self._weight(p.detach().numpy()) for p in (module.weight, module.bias)]
            return self._node("Gemm", [x, *names], transB=1)
        if isinstance(module, nn.Identity):
            return x
        kinds = {nn.ReLU: "Relu", nn.AdaptiveAvgPool2d: "GlobalAveragePool", nn.Flatten: "Flatten"}
        return self._node(kinds[type(module)], [x])

    def _conv(self, conv: Any, norm: Any, x: str) -> str:
        scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
        weight = conv.weight.detach() * scale[:, None, None, None]
        bias = norm.bias.detach() - norm.running_mean * scale
        kernel, pad = conv.kernel_size[0], conv.padding[0]
        names = [self._weight(weight.numpy()), self._weight(bias.numpy())]
        return self._node("Conv", [x, *names], kernel_shape=[kernel] * 2, group=conv.groups,
                          strides=list(conv.stride), pads=[pad] * 4)  # fmt: skip

    def _weight(self, array: Any) -> str:
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
