"""``--precision`` converts, keeps what is right already, and refuses to invent precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lwprof import zoo
from lwprof.cli.main import cli
from lwprof.converting import in_precision
from lwprof.errors import ModelError
from lwprof.profiler.graph import read


def test_a_model_is_converted_once_and_never_back() -> None:
    model = zoo.build("lenet5")
    assert in_precision(model, None) is model and in_precision(model, "float32") is model
    half = in_precision("lenet5", "float16")
    eighth = in_precision("lenet5", "int8")
    assert read(half).name == read(eighth).name == "lenet5"
    assert "float16" in {t.dtype for t in read(half).tensors.values()}
    assert in_precision(half, "float16") is half and in_precision(eighth, "int8") is eighth
    with pytest.raises(ModelError, match="cannot be made float32"):
        in_precision(half, "float32")


def test_measure_and_compare_take_a_precision(tmp_path: Path) -> None:
    store, out = str(tmp_path / "m.db"), tmp_path / "r.json"
    common = ["--threads", "1", "--store", store, "--json", str(out), "--budget", "2s"]
    result = CliRunner().invoke(
        cli, ["measure", "lenet5", "--precision", "int8", "--no-kernels", *common]
    )
    assert result.exit_code == 0, result.output
    measured = json.loads(out.read_text())
    assert measured["context"]["precision"] == "int8"
    result = CliRunner().invoke(
        cli, ["compare", "lenet5", "lenet5", "--b-option", "precision=int8", *common]
    )
    assert result.exit_code == 0, result.output
    compared = json.loads(out.read_text())
    assert compared["a"]["sha256"] != compared["b"]["sha256"]
    assert compared["b"]["sha256"] == measured["models"][0]["sha256"]
