"""Malformed and hostile model files, made by seeded mutators: what a reader must refuse."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Sample:
    """One thing to give to ``lwprof inspect``: its kind and the path to pass."""

    kind: str
    path: str


Mutator = Callable[[random.Random, Path], "onnx.ModelProto | bytes | Path"]


def samples(folder: Path, count: int, seed: int = 0) -> Iterator[Sample]:
    """``count`` samples, the mutators in turn, written below ``folder``."""
    rng = random.Random(seed)
    names = sorted(MUTATORS)
    for number in range(count):
        kind = names[number % len(names)]
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        made = MUTATORS[kind](rng, place)
        path = place / "model.onnx"
        if isinstance(made, Path):
            path = made
        else:
            path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        yield Sample(kind, str(path))


def _value(name: str, shape: Any, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: Any, inputs: Any, outputs: Any, weights: Any = (), **more: Any) -> Any:
    graph = helper.make_graph(list(nodes), "g", inputs, outputs, list(weights))
    opset = more.pop("opset", 17)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more
    )


def network(rng: random.Random, blocks: int = 4) -> Any:
    """A small valid network: convolutions, a residual addition, a classifier."""
    nodes, weights, channels, last = [], [], 3, "x"
    for i in range(blocks):
        width = rng.choice((4, 8, 12))
        kernel = np.ones((width, channels, 3, 3), np.float32) * rng.random()
        weights += [numpy_helper.from_array(kernel, f"w{i}"),
                    numpy_helper.from_array(np.zeros(width, np.float32), f"b{i}")]  # fmt: skip
        nodes += [
            helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}",
                             pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"),
            helper.make_node("Add", [f"r{i}", f"c{i}"], [f"a{i}"], f"add{i}"),
        ]  # fmt: skip
        channels, last = width, f"a{i}"
    weights.append(numpy_helper.from_array(np.ones((channels, 10), np.float32), "fc"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc"], ["y"], "fc"),
    ]
    return _model(nodes, [_value("x", [1, 3, 16, 16])], [_value("y", [1, 10])], weights)


def _truncated(rng: random.Random, folder: Path) -> bytes:
    data: bytes = network(rng).SerializeToString()
    return data[: rng.randrange(1, len(data) - 8)]


def _noise(rng: random.Random, folder: Path) -> bytes:
    return rng.randbytes(rng.randrange(1, 4000))


def _burst(rng: random.Random, folder: Path) -> bytes:
    """A run of bytes early in the file overwritten: its structure is gone."""
    data = bytearray(network(rng).SerializeToString())
    start = rng.randrange(0, 40)
    data[start : start + 64] = rng.randbytes(64)
    return bytes(data)


def _not_a_model(rng: random.Random, folder: Path) -> bytes | Path:
    empty = folder / "empty"
    empty.mkdir()
    return rng.choice(
        (b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04abc", b"\x89HDF\r\n",
         b"<!DOCTYPE html><html>", b"\x80\x02}q\x00", b"\x1f\x8b\x08abcdef", b"{}\n",
         b"\x1c\x00\x00\x00TFL3", folder / "missing.onnx", empty, Path("/dev/zero"),
         Path("/dev/null"), Path("a\x00b"), folder / ("n" * 5000))
    )  # fmt: skip


def _no_graph(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    rng.choice(
        (lambda: model.ClearField("graph"), lambda: model.ClearField("opset_import"),
         lambda: model.ClearField("ir_version"))
    )()  # fmt: skip
    return model


def _cyclic(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    first, last = sorted(rng.sample(range(len(model.graph.node)), 2))
    model.graph.node[first].input[0] = model.graph.node[last].output[0]
    return model


def _self_loop(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    node = rng.choice(list(model.graph.node))
    node.input[0] = node.output[0]
    return model


def _missing_input(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    node = rng.choice(list(model.graph.node))
    node.input[rng.randrange(len(node.input))] = f"nowhere{rng.random()}"
    return model


def _missing_weight(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]
    return model


def _made_twice(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    first, second = rng.sample(list(model.graph.node), 2)
    second.output[0] = first.output[0]
    return model


def _output_of_nothing(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    model.graph.output[0].name = "nobody"
    return model


def _wrong_type(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    kind = rng.choice((INT64, TensorProto.STRING, TensorProto.BOOL, TensorProto.FLOAT16, 0, 99, -1))
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def _wrong_weight_type(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    tensor = rng.choice(list(model.graph.initializer))
    tensor.data_type = rng.choice((TensorProto.DOUBLE, TensorProto.INT8, 0, 77, TensorProto.STRING))
    return model


def _wrong_weight_size(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    tensor = rng.choice(list(model.graph.initializer))
    if rng.random() < 0.5:
        tensor.dims[0] = rng.choice((-1, 0, 7919, 2**40, 2**62))
    else:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
    return model


def _wrong_channels(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    place = rng.randrange(4)
    old = model.graph.initializer[2 * place]
    shape = list(old.dims)
    shape[1] += rng.randrange(1, 5)
    old.CopyFrom(numpy_helper.from_array(np.ones(shape, np.float32), old.name))
    return model


def _wrong_product(rng: random.Random, folder: Path) -> Any:
    k = rng.randrange(2, 50)
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    return _model(nodes, [_value("a", [3, k]), _value("b", [k + 1, 5])], [_value("y", [3, 5])])


def _wrong_broadcast(rng: random.Random, folder: Path) -> Any:
    n = rng.randrange(2, 50)
    kind = rng.choice(("Add", "Mul", "Sub", "Div", "Max"))
    nodes = [helper.make_node(kind, ["a", "b"], ["y"])]
    return _model(nodes, [_value("a", [3, n]), _value("b", [3, n + 1])], [_value("y", [3, n])])


def _wrong_attribute(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    node = model.graph.node[0]
    wrong = rng.choice(
        (helper.make_attribute("kernel_shape", [5, 5, 5]), helper.make_attribute("strides", "x"),
         helper.make_attribute("pads", [-9, -9, -9, -9]), helper.make_attribute("group", 2.5),
         helper.make_attribute("group", 5), helper.make_attribute("unheard_of", 1),
         helper.make_attribute("strides", [0, 0]), helper.make_attribute("dilations", [0]))
    )  # fmt: skip
    kept = [attribute for attribute in node.attribute if attribute.name != wrong.name]
    del node.attribute[:]
    node.attribute.extend([*kept, wrong])
    return model


def _wrong_arity(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    node = model.graph.node[rng.choice((0, 1, 2))]
    if rng.random() < 0.5:
        del node.input[:]
    else:
        node.input.extend(["x"] * 9)
    return model


def _unknown_operator(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    node = rng.choice(list(model.graph.node))
    node.op_type = rng.choice(("Covn", "", "Relu\nRelu", "\x1b[31mRelu", "Réseau", "A" * 100_000))
    return model


def _wrong_opset(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    opset = model.opset_import[0]
    if rng.random() < 0.3:
        opset.domain = "com.example.unheard"
    else:
        opset.version = rng.choice((-5, 0, 999, 2**62))
    return model


def _not_utf8(rng: random.Random, folder: Path) -> bytes:
    model = network(rng)
    where = rng.choice(("node", "input", "weight", "type", "domain", "output", "symbol", "value"))
    if where == "symbol":
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "MARKER"
    elif where == "weight":
        model.graph.initializer[0].name = "MARKER"
    elif where == "value":
        model.graph.input[0].name = "MARKER"
    elif where == "output":
        model.graph.output[0].name = "MARKER"
    else:
        node = rng.choice(list(model.graph.node))
        if where == "input":
            node.input[0] = "MARKER"
        else:
            setattr(node, {"node": "name", "type": "op_type", "domain": "domain"}[where], "MARKER")
    bad = rng.choice((b"\xff\xfe\xfd\xfcAB", b"\xc3(\xa0\xa1zz", b"ab\x80\x80cd"))
    data: bytes = model.SerializeToString()
    return data.replace(b"MARKER", bad)


def _hostile_names(rng: random.Random, folder: Path) -> Any:
    """A broken model whose names would draw on a terminal or fake further lines."""
    model = network(rng)
    node = rng.choice(list(model.graph.node))
    name = rng.choice(("\x1b[2J\x1b[H", "a\nlwprof: all is well\n", "[bold red]x[/]", "\x00" * 50,
                       "x" * 1_000_000, "\u202emodel\u202c", "%s%n{}", "\r\r\r"))  # fmt: skip
    node.name, node.input[0] = name, name + "!"
    return model


def _external(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    (folder / "outside").write_bytes(b"\0" * 4096)
    inner = folder / "inner"
    inner.mkdir()
    os.symlink(folder / "outside", inner / "link")
    os.symlink("/proc/self", inner / "proc")
    os.mkfifo(inner / "pipe")
    (inner / "short").write_bytes(b"\0" * 3)
    tensor = model.graph.initializer[0]
    entries = {
        "location": rng.choice(
            ("../outside", "/proc/self/environ", "/dev/zero", "link", "pipe", "missing", "short",
             "proc/environ", "../../../../../../etc/passwd", "", ".", "a\0b", "inner/../../outside",
             "~/.ssh/id_rsa", "http://example.com/w", "n" * 5000)
        )
    }  # fmt: skip
    if rng.random() < 0.3:
        entries["offset"] = rng.choice(("-1", "99999999999999999999", "x", "1e3"))
    if rng.random() < 0.3:
        entries["length"] = rng.choice(("-1", "99999999999999", "0", "nan"))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = inner / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _giant(rng: random.Random, folder: Path) -> Any:
    """A few bytes that ask for gigabytes."""
    huge = rng.choice((2**33, 2**36, 2**40, 2**62))
    shape = numpy_helper.from_array(np.array([huge], np.int64), "s")
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    kind = rng.choice(("ConstantOfShape", "Expand", "Tile", "RandomNormal", "input", "Range",
                       "square", "weight"))  # fmt: skip
    end = [_value("y", None)]
    node = helper.make_node
    if kind == "ConstantOfShape":
        return _model([node(kind, ["s"], ["y"])], [], end, [shape])
    if kind in ("Expand", "Tile"):
        return _model([node(kind, ["one", "s"], ["z"]), node("ReduceSum", ["z"], ["y"])], [],
                      [_value("y", [1])], [shape, one])  # fmt: skip
    if kind == "RandomNormal":
        return _model([node(kind, [], ["y"], shape=[huge, 4])], [], end)
    if kind == "Range":
        scalars = [numpy_helper.from_array(np.array(v, np.int64), n)
                   for n, v in (("a", 0), ("b", huge), ("c", 1))]  # fmt: skip
        return _model([node(kind, ["a", "b", "c"], ["y"])], [], [_value("y", None, INT64)], scalars)
    if kind == "square":
        return _model([node("MatMul", ["x", "x"], ["y"])], [_value("x", [2**20, 2**20])],
                      [_value("y", [2**20, 2**20])])  # fmt: skip
    if kind == "weight":
        tensor = TensorProto(name="one", data_type=FLOAT, dims=[huge])
        return _model([node("Identity", ["one"], ["y"])], [], end, [tensor])
    return _model([node("Relu", ["x"], ["y"])], [_value("x", [huge, 2**10])],
                  [_value("y", [huge, 2**10])])  # fmt: skip


def _field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field; protobuf itself would refuse to nest so deeply."""
    length, size = b"", len(payload)
    while size >= 128:
        length, size = length + bytes([size % 128 + 128]), size // 128
    return bytes([number * 8 + 2]) + length + bytes([size]) + payload


def _nested(rng: random.Random, folder: Path) -> bytes:
    """If inside If inside If …"""
    depth = rng.choice((18, 24, 60, 2000))
    inner: bytes = helper.make_node("Identity", ["x"], ["y0"]).SerializeToString()
    for level in range(depth):
        output = _value(f"y{level}", [1]).SerializeToString()
        branch = _field(1, inner) + _field(2, b"b") + _field(12, output)
        inner = _field(1, b"c") + _field(2, f"y{level + 1}".encode()) + _field(4, b"If")
        # Two branches everywhere would double the file each time.
        for name in (b"then_branch", b"else_branch")[: 2 if level < 4 else 1]:
            inner += _field(5, _field(1, name) + _field(6, branch) + b"\xa0\x01\x05")
    shell = _model([], [_value("x", [1]), _value("c", [], TensorProto.BOOL)],
                   [_value(f"y{depth}", [1])])  # fmt: skip
    graph = _field(1, inner) + shell.graph.SerializeToString()
    shell.ClearField("graph")
    data: bytes = shell.SerializeToString()
    return data + _field(7, graph)


def _functions(rng: random.Random, folder: Path) -> Any:
    """Local functions that call each other twice, or themselves: a few bytes, endless nodes."""
    depth, circle = rng.choice((24, 40, 62, 300)), rng.random() < 0.4
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = []
    for level in range(depth):
        callee = "f0" if circle and level == depth - 1 else f"f{level + 1}"
        last = level == depth - 1 and not circle
        call = {"domain": "" if last else "f"}
        kind = "Relu" if last else callee
        functions.append(
            helper.make_function(
                "f", f"f{level}", ["a"], ["b"],
                [helper.make_node(kind, ["a"], ["m"], **call),
                 helper.make_node(kind, ["m"], ["b"], **call)], opsets)
        )  # fmt: skip
    model = _model([helper.make_node("f0", ["x"], ["y"], domain="f")], [_value("x", [1])],
                   [_value("y", [1])], functions=functions)  # fmt: skip
    model.opset_import.extend([helper.make_opsetid("f", 1)])
    return model


def _deep_type(rng: random.Random, folder: Path) -> bytes:
    """An input that is a sequence of sequences of sequences …"""
    kind: bytes = helper.make_tensor_type_proto(FLOAT, [1]).SerializeToString()
    for _ in range(rng.choice((20, 45, 200))):
        kind = _field(4, _field(1, kind))
    shell = _model([helper.make_node("Identity", ["x"], ["y"])], [], [_value("y", [1])])
    graph = shell.graph.SerializeToString() + _field(11, _field(1, b"x") + _field(2, kind))
    shell.ClearField("graph")
    data: bytes = shell.SerializeToString()
    return data + _field(7, graph)


def _too_many_nodes(rng: random.Random, folder: Path) -> bytes:
    count = rng.choice((210_000, 300_000))
    node = _field(1, helper.make_node("Relu", ["x"], ["v"]).SerializeToString())
    shell = _model([], [_value("x", [1])], [_value("v", [1])])
    graph = node * count + shell.graph.SerializeToString()
    shell.ClearField("graph")
    data: bytes = shell.SerializeToString()
    return data + _field(7, graph)


def _broken_control(rng: random.Random, folder: Path) -> Any:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"])], "b", [], [_value("t", [2])]
    )
    stray = helper.make_graph(
        [helper.make_node("Relu", ["zz"], ["t"])], "b", [], [_value("t", [2])]
    )
    empty = helper.make_graph([], "b", [], [])
    node = rng.choice(
        (helper.make_node("If", ["c"], ["y"], then_branch=branch),
         helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=empty),
         helper.make_node("If", ["c"], ["y"], then_branch=stray, else_branch=branch),
         helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch),
         helper.make_node("Loop", ["x", "c", "x"], ["y"], body=branch),
         helper.make_node("Loop", ["", "c", "x"], ["y"], body=empty),
         helper.make_node("Scan", ["x"], ["y"], body=branch, num_scan_inputs=7))
    )  # fmt: skip
    return _model([node], [_value("x", [2]), _value("c", [], TensorProto.BOOL)], [_value("y", [2])])


def _open_shape(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    kind = model.graph.input[0].type
    if rng.random() < 0.3:
        kind.tensor_type.ClearField("shape")
    elif rng.random() < 0.3:
        model.graph.input[0].ClearField("type")
    else:
        dim = kind.tensor_type.shape.dim[rng.choice((2, 3))]
        dim.dim_param = rng.choice(("height", "W", "", "seq"))
        if not dim.dim_param:
            dim.ClearField("value")
    return model


def _negative_shape(rng: random.Random, folder: Path) -> Any:
    model = network(rng)
    dim = model.graph.input[0].type.tensor_type.shape.dim[rng.randrange(4)]
    dim.dim_value = rng.choice((-2, -(2**31), -(2**63)))
    return model


MUTATORS: dict[str, Mutator] = {
    "truncated": _truncated, "noise": _noise, "burst": _burst, "not a model": _not_a_model,
    "no graph": _no_graph, "cyclic": _cyclic, "self loop": _self_loop,
    "missing input": _missing_input, "missing weight": _missing_weight,
    "made twice": _made_twice, "output of nothing": _output_of_nothing,
    "wrong type": _wrong_type, "wrong weight type": _wrong_weight_type,
    "wrong weight size": _wrong_weight_size, "wrong channels": _wrong_channels,
    "wrong product": _wrong_product, "wrong broadcast": _wrong_broadcast,
    "wrong attribute": _wrong_attribute, "wrong arity": _wrong_arity,
    "unknown operator": _unknown_operator, "wrong opset": _wrong_opset, "not UTF-8": _not_utf8,
    "hostile names": _hostile_names, "external data": _external, "giant shape": _giant,
    "nested": _nested, "functions": _functions, "deep type": _deep_type,
    "too many nodes": _too_many_nodes, "broken control flow": _broken_control,
    "open shape": _open_shape, "negative shape": _negative_shape,
}  # fmt: skip


def flipped(folder: Path, count: int, seed: int = 0) -> Iterator[Sample]:
    """Valid networks with a few random bytes changed: some stay valid, none may crash."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        data = bytearray(network(rng).SerializeToString())
        for _ in range(rng.choice((1, 2, 5, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = folder / f"{number:05d}.onnx"
        path.write_bytes(data)
        yield Sample("flipped bytes", str(path))
