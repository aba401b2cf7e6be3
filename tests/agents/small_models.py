"""Small models and steps for the tests of this room."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper


def model(
    nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 17
) -> bytes:
    """A serialised model; inputs and outputs are given as (element type, shape) or ValueInfo."""

    def infos(values: dict[str, Any]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, *value) if isinstance(value, tuple) else value
            for name, value in values.items()
        ]

    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def chain(length: int = 6, width: int = 64) -> bytes:
    """``length`` Sigmoids in a row on ``width`` floats."""
    nodes = [
        helper.make_node("Sigmoid", [f"t{i}"], [f"t{i + 1}"], name=f"s{i}") for i in range(length)
    ]
    return model(
        nodes,
        {"t0": (TensorProto.FLOAT, [width])},
        {f"t{length}": (TensorProto.FLOAT, [width])},
    )


def feed(name: str = "t0", shape: tuple[int, ...] = (64,), **more: Any) -> dict[str, Any]:
    """A description of a float input."""
    return {"name": name, "kind": "tensor", "dtype": "float32", "shape": list(shape),
            "fill": {"kind": "normal", "seed": 1}, **more}  # fmt: skip


def load(model: str, session: str = "plain", *, worker: int = 0, **options: Any) -> dict[str, Any]:
    """A load step of the chain."""
    return {"do": "load", "worker": worker, "session": session, "model": model,
            "options": {"runtime": "onnxruntime", "provider": "CPU", "threads": 1, **options},
            "inputs": [feed()]}  # fmt: skip


def timed(sessions: list[str], *, worker: int = 0, **more: Any) -> dict[str, Any]:
    """A time step."""
    return {"do": "time", "worker": worker, "sessions": sessions, "slices": 2, "n": 3,
            "order": "abba", "max_s": 30, **more}  # fmt: skip


def script(*steps: dict[str, Any], workers: int = 1, block_id: str = "b") -> dict[str, Any]:
    """A block of ``steps``."""
    return {"id": block_id, "workers": [{} for _ in range(workers)], "steps": list(steps)}
