"""``lwprof inspect`` and the inspection's JSON, as the contract says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from lwprof.cli.main import main
from lwprof.errors import UsageError
from lwprof.profiler.graph.inspection import inspect


@pytest.fixture
def model_path(parse, tmp_path):
    body = "a = Conv(x, w)\nb = Relu(a)\ny = Det(m)"
    model = parse("(float[N,2,4,4] x, float[3,3] m) => (float y, float[N,3,4,4] b)", body, 17,
                  "<float[3,2,1,1] w = {1,2,3,4,5,6}>")  # fmt: skip
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def cli(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_json_has_the_fields_of_the_contract(capsys, model_path):
    code, out, err = cli(capsys, model_path, "--json", "-")
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert data["schema"] == "lwprof.inspection/1"
    (model,) = data["models"]
    assert model["name"] == "net"
    assert model["sha256"] == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert model["macs"] is None
    assert model["params"] == 6
    assert model["size_bytes"] == model_path.stat().st_size
    assert model["unknown"] == ["Det"]
    assert model["kernels"] is None
    assert model["operators"][0] == {
        "name": "Conv_0", "type": "Conv", "macs": 96, "params": 6,
        "bytes_read": 32 * 4 + 24, "bytes_written": 48 * 4, "outputs": [[1, 3, 4, 4]],
    }  # fmt: skip
    assert model["operators"][2]["macs"] is None


def test_the_table_says_what_is_unknown_and_never_zero(capsys, model_path):
    code, out, _ = cli(capsys, model_path)
    assert code == 0
    assert "≥ 96 " in out.replace("\n", " ")
    assert "unknown           Det" in out
    assert "dimension 0 ('N') set to 1" in out


def test_shapes_and_batch_from_the_command_line(capsys, model_path):
    _, out, _ = cli(capsys, model_path, "--batch", "4", "--json", "-")
    assert json.loads(out)["models"][0]["operators"][0]["outputs"] == [[4, 3, 4, 4]]
    _, out, _ = cli(capsys, model_path, "--input-shape", "x=1,2,9,5", "--json", "-")
    assert json.loads(out)["models"][0]["operators"][0]["outputs"] == [[1, 3, 9, 5]]


def test_several_models_give_one_table(capsys, model_path, light_folder):
    code, out, _ = cli(capsys, model_path, light_folder / "light_squeezenet.onnx")
    assert code == 0
    assert "light_squeezenet" in out
    assert "net" in out
    assert "MaxPool" in out


def test_a_bad_model_is_one_line_and_exit_two(capsys, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x08\x08garbage")
    code, out, err = cli(capsys, path)
    assert (code, out) == (2, "")
    assert err.startswith("lwprof: ")
    assert err.count("\n") == 1


def test_names_from_a_file_are_neither_markup_nor_control(capsys, parse, tmp_path):
    model = parse("(float[2] x) => (float[2] y)", "y = Relu(x)")
    model.graph.node[0].name = "[red]\x1b[2Jname[/red]"
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    _, out, _ = cli(capsys, path)
    assert "[red]?[2Jname[/red]" in out
    assert "\x1b" not in out


@dataclass(frozen=True)
class FakeKernel:
    workload: SimpleNamespace
    operators: tuple[str, ...]
    nodes: tuple[str, ...]


def test_kernels_and_their_workloads(model_path):
    work = SimpleNamespace(key="w1:" + "0" * 64, description={"op": "Conv"})
    kernels = [FakeKernel(work, ("Conv", "Relu"), ("Conv_0", "Relu_1"))]
    data = inspect(model_path, kernels_of=lambda graph: kernels).to_json()
    assert data["models"][0]["kernels"] == [
        {"workload": work.key, "operators": ["Conv", "Relu"], "nodes": ["Conv_0", "Relu_1"],
         "count": 1}
    ]  # fmt: skip
    assert data["workloads"] == {work.key: {"op": "Conv"}}


def test_one_model_answers_directly_and_several_do_not(model_path):
    one = inspect(model_path)
    assert (one.params, one.macs, one.unknown) == (6, None, ("Det",))
    assert one.models[0].counted_macs == 96
    assert "6 parameters" in str(one)
    several = inspect([model_path, model_path])
    with pytest.raises(UsageError, match="holds 2 models"):
        _ = several.params
    assert len(several.models) == 2


def test_html_escapes_names(parse):
    model = parse("(float[2] x) => (float[2] y)", "y = Relu(x)")
    model.graph.name = "<script>alert(1)</script>"
    assert "<script>" not in inspect(model)._repr_html_()
