"""Without TVM, one line says which extra to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lwprof.agents.program import tvm_runtime
from lwprof.agents.program.failures import Failure
from lwprof.errors import MissingExtra
from lwprof.profiler.tvm import compile_model


def test_both_sides_name_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in sys.modules if n == "tvm" or n.startswith("tvm.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tvm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lwprof\[tvm\]'"):
        compile_model("unused.onnx", cache_dir=tmp_path)
    with pytest.raises(Failure, match=r"pip install 'lwprof\[tvm\]'") as refused:
        tvm_runtime.import_runtime({})
    assert refused.value.kind == "runtime_missing"
