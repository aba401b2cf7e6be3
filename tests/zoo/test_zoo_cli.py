"""``lwprof zoo`` as a person and a script see it."""

from __future__ import annotations

import json
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet51"], "did you mean resnet50"),
        (["lenet5", "--width", "0.5"], "lenet5 takes no width; it takes classes, batch"),
        (["lenet5", "--seed", "-1"], "a seed is a whole number from 0"),
        (["lenet5", "--batch", "0"], "batch must be a positive whole number"),
        (["alexnet", "--resolution", "8"], "choose a larger resolution"),
        (["alexnet", "--resolution", "eight"], "not a valid integer"),
        (["mobilevit_s", "--resolution", "200"], "choose a multiple of 64"),
        (["gcn_resnet50", "--resolution", "100"], "choose another resolution"),
        (["resnet18", "--width", "0.001"], "choose a larger resolution or width"),
        (["vgg16", "--width", "nan"], "width must be a positive number"),
        (["vgg16", "--width", "9999"], "GB, and"),
        (["lenet5", "--precision", "int8"], "'float32', 'float16'"),
        (["lenet5", "--weights", "trained"], "'seeded', 'none'"),
    ],
)
def test_wrong_inputs_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.onnx"
    assert _lwprof("zoo", "build", *arguments, "-o", str(path)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert not path.exists()


@pytest.mark.parametrize("place", ["no/x.onnx", ".", "/proc/x.onnx"])
def test_files_that_cannot_be_written_are_one_line(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _lwprof("zoo", "build", "lenet5", "-o", str(tmp_path / place)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot write" in error


def test_options_of_the_list_do_not_go_with_build(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    assert _lwprof("zoo", "--survey", "build", "lenet5", "-o", str(path)) == 2
    assert not path.exists()


def test_a_model_goes_down_a_pipe() -> None:
    command = [sys.executable, "-m", "lwprof", "zoo", "build", "lenet5", "-o", "-"]
    piped = subprocess.run(command, check=True, capture_output=True).stdout
    assert onnx.load_from_string(piped) == zoo.build("lenet5")


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
