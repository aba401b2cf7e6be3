"""Small models for the tests of graph reading, written as ONNX text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from lwprof.profiler.graph import Graph, read


@pytest.fixture
def parse() -> Callable[..., Any]:
    """From ONNX text (inputs, outputs, body) to a ModelProto."""
    return parse_model


@pytest.fixture
def light_folder() -> Path:
    """Where onnx keeps its nine real networks."""
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def parse_model(signature: str, body: str, opset: int = 17, weights: str = "") -> Any:
    """``signature`` is ``(float[1,3] x) => (float[1,3] y)``; ``body`` the nodes."""
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
        f"agraph {signature}\n{weights}\n{{\n{body}\n}}"
    )


@pytest.fixture
def graph_of() -> Callable[..., Graph]:
    """Parses and reads at once."""

    def build(signature: str, body: str, opset: int = 17, weights: str = "", **more: Any) -> Graph:
        return read(parse_model(signature, body, opset, weights), **more)

    return build
