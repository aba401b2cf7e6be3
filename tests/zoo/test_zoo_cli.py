"""``lwprof zoo`` as a person and a script see it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from lwprof import zoo
from lwprof.cli.main import main
from lwprof.zoo.survey import table_1


def _lwprof(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_the_list_names_every_network_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert _lwprof("zoo", "--json", "-") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["networks"]}
    assert tuple(rows) == zoo.list()
    assert rows["resnet50"]["params"] == 25_557_032
    assert rows["resnet50"]["options"]["resolution"] == 224
    assert _lwprof("zoo") == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("resnet50 "))
    assert "25.6 M" in line and "4.09 G" in line and "2015" in line and "1512.03385" in line


def test_build_writes_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.onnx"
    options = ["--width", "0.5", "--resolution", "64", "--classes", "5", "--batch", "2"]
    assert _lwprof("zoo", "build", "mobilenet_v1", "-o", str(path), *options) == 0
    assert "small.onnx" in capsys.readouterr().out
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    extents = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert extents == [2, 3, 64, 64]


def test_build_without_weights_writes_kilobytes(tmp_path: Path) -> None:
    path = tmp_path / "bare.onnx"
    assert _lwprof("zoo", "build", "vgg16", "-o", str(path), "--weights", "none") == 0
    assert path.stat().st_size < 10_000


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "x.onnx")
    assert _lwprof("zoo", "build", "resnet51", "-o", path) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert _lwprof("zoo", "build", "resnet50", "-o", str(tmp_path / "no" / "x.onnx")) == 2
    assert _lwprof("zoo", "--survey", "build", "resnet50", "-o", path) == 2
    assert not Path(path).exists()


def test_the_survey_is_within_what_its_remarks_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert _lwprof("zoo", "--survey", "--json", "-") == 0
    rows = json.loads(capsys.readouterr().out)["survey_table_1"]
    assert len(rows) == len(table_1()) == 10
    for row in rows:
        unit = 2**20 if row["remark"].startswith("MiB") else 10**6
        coarse = "rounded" in row["remark"]
        if not row["remark"].startswith("below"):
            off = abs(row["storage_bytes"] / unit - row["survey_storage_mb"])
            assert off < (5 if coarse else 0.6), row
    assert _lwprof("zoo", "--survey") == 0
    assert "NASNet-A" in capsys.readouterr().out
