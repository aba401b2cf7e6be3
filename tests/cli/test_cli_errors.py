"""Bad input gets one line on stderr that begins with ``lwprof:``, exit code 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def lwprof(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lwprof", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "No such command"),
        (["measure", "no_such_model"], "no_such_model"),
        (["measure", "resnet18", "--device", "pi9"], "lwprof devices add"),
        (["measure", "resnet18", "--budget", "5"], "has no unit"),
        (["measure", "resnet18", "--budget", "5mJ"], "unknown unit"),
        (["measure", "resnet18", "--runtime", "caffe"], "onnxruntime or tvm"),
        (["measure", "resnet18", "--threads", "0"], "threads"),
        (["measure", "resnet18", "--input-shape", "data"], "data=1,3,224,224"),
        (["measure", "resnet18", "--json", "/no/such/folder/x.json"], "cannot write"),
        (["measure", "resnet18", "--tune", "5m"], "--runtime tvm"),
        (["measure", "resnet18", "--energy"], "no power sensor"),
        (["compare", "resnet18"], "Missing argument"),
        (["compare", "resnet18", "resnet18", "--gate", "latency"], "latency=5%"),
        (["compare", "a.json", "resnet18"], "one of each"),
        (["compare", "resnet18", "resnet18", "--b-option", "threads=x"], "whole number"),
        (["predict", "resnet18", "--device", "nobody"], "lwprof devices add"),
        (["inspect", "no_such_model"], "no_such_model"),
    ],
)
def test_one_clear_line(arguments: list[str], says: str) -> None:
    done = lwprof(*arguments)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("lwprof: "), done.stderr
    assert says in lines[0]
    assert not done.stdout


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07\x12\xff\xff\xff")
    done = lwprof("measure", str(path))
    assert done.returncode == 2 and "broken" in done.stderr and "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from lwprof.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'onnx', 'pandas', 'sqlalchemy', 'rich', 'onnxruntime', 'sklearn'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize(
    "command", ["measure", "compare", "inspect", "predict", "devices", "store", "zoo"]
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = lwprof(command, "--help")
    assert done.returncode == 0 and "Example" in done.stdout
