"""A small network, and one real measurement of it that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from session_models import small_network

from lwprof import api
from lwprof.profiler.session.result import MeasurementResult


@dataclass(frozen=True)
class Measured:
    """One measurement: where it is stored, the model's file, and the result."""

    store: str
    path: Path
    result: MeasurementResult


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    folder = tmp_path_factory.mktemp("measured")
    path = folder / "small.onnx"
    onnx.save(small_network(), path)
    store = str(folder / "m.db")
    result = api.measure([str(path)], threads=1, rel_ci=0.5, budget_s=300, store=store, seed=1)
    yield Measured(store, path, result)
