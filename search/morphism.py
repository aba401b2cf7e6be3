"""Network morphisms on ONNX graphs (arXiv 1511.05641): wider or deeper, with equal outputs.

    wider = widen(model, "Conv_3", 96)     # duplicates filters; readers' weights are shared out
    deeper = deepen(model, "Relu_2")       # inserts a 3×3 convolution that changes nothing

Widening follows a convolution's channels through operators that treat channels alike until the
convolutions (or the fully connected layer behind a global pooling) that read them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lwprof.errors import UsageError

PASSING = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "MaxPool",
           "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity"}  # fmt: skip
NORM = "BatchNormalization"


def widen(model: onnx.ModelProto, node: str, channels: int, seed: int = 0) -> onnx.ModelProto:
    """The convolution called ``node`` with more channels, the network's output unchanged.

    Raises:
        UsageError: no such convolution, fewer channels than it has, or a reader of its channels
            that cannot be rewritten (such as an addition: widen its other input as well).
    """
    graph = _Graph(model)
    conv = graph.named(node)
    if conv.op_type != "Conv" or _groups(conv) != 1:
        raise UsageError(f"{node} is no ordinary convolution: it cannot be widened")
    weight = graph.array(conv.input[1])
    old = weight.shape[0]
    if channels < old:
        raise UsageError(f"{node} has {old} channels already; widening to {channels} is pruning")
    source = np.concatenate([np.arange(old),
                             np.random.default_rng(seed).integers(0, old, channels - old)])  # fmt: skip
    copies = np.bincount(source, minlength=old)[source]
    for place in (1, 2)[: len(conv.input) - 1]:
        graph.replace(conv, place, graph.array(conv.input[place])[source])
    _follow(graph, conv.output[0], source, copies)
    return graph.finished()


def _follow(graph: _Graph, value: str, source: Any, copies: Any) -> None:
    """Rewrites everything that reads channels of ``value``."""
    if value in graph.outputs:
        raise UsageError(f"{value} is an output of the network: its channels cannot change")
    for reader in graph.readers(value):
        if reader.op_type == NORM:
            for place in range(1, 5):
                graph.replace(reader, place, graph.array(reader.input[place])[source])
            _follow(graph, reader.output[0], source, copies)
        elif reader.op_type in PASSING or _flattens(graph, reader):
            _follow(graph, reader.output[0], source, copies)
        elif reader.op_type == "Conv" and _groups(reader) == 1:
            weight = graph.array(reader.input[1])[:, source]
            graph.replace(reader, 1, weight / copies[None, :, None, None])
        elif reader.op_type == "Conv" and _groups(reader) == len(np.unique(source)):
            for place in (1, 2)[: len(reader.input) - 1]:
                graph.replace(reader, place, graph.array(reader.input[place])[source])
            next(a for a in reader.attribute if a.name == "group").i = len(source)
            _follow(graph, reader.output[0], source, copies)
        elif reader.op_type == "Gemm" and reader.input[0] == value:
            turned = any(a.name == "transB" and a.i for a in reader.attribute)
            weight = graph.array(reader.input[1])
            shared = weight[:, source] / copies if turned else weight[source] / copies[:, None]
            graph.replace(reader, 1, shared)
        else:
            raise UsageError(f"{reader.op_type} {reader.name!r} reads the channels of {value!r}: "
                             "widening does not reach through it")  # fmt: skip


def _flattens(graph: _Graph, node: Any) -> bool:
    """Whether a node flattens a map of one pixel, so that channels stay columns."""
    if node.op_type != "Flatten":
        return False
    maker = graph.maker(node.input[0])
    return maker is not None and maker.op_type in ("GlobalAveragePool", "GlobalMaxPool")


def deepen(model: onnx.ModelProto, node: str, kernel: int = 3) -> onnx.ModelProto:
    """A convolution that copies its input, and a Relu, behind the Relu called ``node``.

    Raises:
        UsageError: the node is no Relu (what follows would change its values), or the channels of
            its output are unknown, or an even kernel.
    """
    graph = _Graph(model)
    relu = graph.named(node)
    if relu.op_type not in ("Relu", "Clip"):
        raise UsageError(f"{node} is a {relu.op_type}: only behind a Relu does another one change "
                         "nothing")  # fmt: skip
    if kernel % 2 == 0:
        raise UsageError(f"a kernel of {kernel} cannot be centred: choose an odd one")
    value = relu.output[0]
    channels = graph.channels(value)
    weight = np.zeros((channels, channels, kernel, kernel), dtype=np.float32)
    weight[np.arange(channels), np.arange(channels), kernel // 2, kernel // 2] = 1.0
    graph.insert_behind(relu, weight)
    return graph.finished()


def _groups(conv: Any) -> int:
    return next((a.i for a in conv.attribute if a.name == "group"), 1)


class _Graph:
    """A copy of a model whose weights can be read and replaced."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        self._weights = {w.name: w for w in self._graph.initializer}
        self.outputs = {value.name for value in self._graph.output}
        self._made = 0

    def named(self, name: str) -> Any:
        """The node of that name."""
        for node in self._graph.node:
            if node.name == name:
                return node
        raise UsageError(f"the graph has no node called {name!r}")

    def readers(self, value: str) -> list[Any]:
        """Nodes that read a value."""
        return [node for node in self._graph.node if value in node.input]

    def maker(self, value: str) -> Any:
        """The node that makes a value, or None."""
        return next((node for node in self._graph.node if value in node.output), None)

    def array(self, name: str) -> Any:
        """A weight."""
        if name not in self._weights:
            raise UsageError(f"{name!r} is not a constant: morphisms need plain weights")
        return numpy_helper.to_array(self._weights[name])

    def replace(self, node: Any, place: int, array: Any) -> None:
        """Gives one input of a node a weight of its own."""
        node.input[place] = self._add(np.ascontiguousarray(array), node.input[place])

    def _add(self, array: Any, base: str) -> str:
        self._made += 1
        name = f"{base}_morphed{self._made}"
        while name in self._weights:
            self._made += 1
            name = f"{base}_morphed{self._made}"
        kind = self._weights.get(base)
        tensor = numpy_helper.from_array(
            array if kind is None else array.astype(numpy_helper.to_array(kind).dtype), name
        )
        self._graph.initializer.append(tensor)
        self._weights[name] = tensor
        return name

    def channels(self, value: str) -> int:
        """The second dimension of a value."""
        inferred = onnx.shape_inference.infer_shapes(self._model).graph
        for info in (*inferred.value_info, *inferred.output):
            dims = info.type.tensor_type.shape.dim
            if info.name == value and len(dims) == 4 and dims[1].dim_value:
                return int(dims[1].dim_value)
        raise UsageError(f"the channels of {value!r} are unknown: give its shape")

    def insert_behind(self, node: Any, weight: Any) -> None:
        """A convolution and a copy of ``node`` behind it; readers are moved to the copy."""
        value, pad = node.output[0], weight.shape[2] // 2
        name = self._add(weight, f"{node.name}_identity")
        conv = helper.make_node("Conv", [value, name], [f"{name}_conv"], name=f"{name}_conv",
                                kernel_shape=weight.shape[2:], pads=[pad] * 4)  # fmt: skip
        again = onnx.NodeProto()
        again.CopyFrom(node)
        again.name, again.input[0], again.output[0] = f"{name}_act", conv.output[0], f"{name}_out"
        place = next(i for i, other in enumerate(self._graph.node) if other is node) + 1
        for reader in self.readers(value):
            for i, read in enumerate(reader.input):
                if read == value:
                    reader.input[i] = again.output[0]
        later = list(self._graph.node)[place:]
        del self._graph.node[place:]
        self._graph.node.extend([conv, again, *later])
        if value in self.outputs:
            raise UsageError(f"{value} is an output of the network: nothing can follow it")

    def finished(self) -> onnx.ModelProto:
        """The model without weights that nothing reads, and without shapes that went stale."""
        used = {name for node in self._graph.node for name in node.input}
        kept = [w for w in self._graph.initializer if w.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.value_info[:]
        onnx.checker.check_model(self._model)
        return self._model
