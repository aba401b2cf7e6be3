"""``lwprof report`` on files and a store, and ``--html`` on a real measurement of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import synthetic_results as made
from click.testing import CliRunner

from lwprof.cli.main import cli


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", ["model", "compare", "audit", "search", "prune", "matrix"])
def test_every_kind_from_its_file(tmp_path: Path, kind: str) -> None:
    source, out = tmp_path / "r.json", tmp_path / "r.html"
    source.write_text(json.dumps(made.EVERY[kind]()))
    run("report", kind, str(source), "-o", str(out))
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_a_measurement_of_this_machine_and_its_store(tmp_path: Path) -> None:
    store, html, saved = (tmp_path / name for name in ("m.db", "m.html", "m.json"))
    run("measure", "tiny_ops", "--device", "host", "--threads", "1", "--budget", "20s", "--store",
        str(store), "--json", str(saved), "--html", str(html))  # fmt: skip
    model = json.loads(saved.read_text())["models"][0]
    assert f'data-v="{model["latency_s"]["value"]}"' in html.read_text()
    again = tmp_path / "again.html"
    run("report", "model", "tiny_ops", "--store", str(store), "-o", str(again))
    assert f'data-v="{model["latency_s"]["value"]}"' in again.read_text()
    device = tmp_path / "device.html"
    run("report", "device", "host", "--store", str(store), "-o", str(device))
    assert "Health over time" in device.read_text()
    both = tmp_path / "both.html"
    run("report", "compare", str(saved), str(saved), "-o", str(both))
    assert "What changed by kernel" in both.read_text()


def test_wrong_files_are_refused_in_one_line(tmp_path: Path) -> None:
    source = tmp_path / "r.json"
    source.write_text(json.dumps(made.audit()))
    result = CliRunner().invoke(cli, ["report", "model", str(source), "-o", str(tmp_path / "x")])
    assert result.exception is not None and "lwprof.audit" in str(result.exception)
    source.write_text("{")
    result = CliRunner().invoke(cli, ["report", "audit", str(source), "-o", str(tmp_path / "x")])
    assert "not JSON" in str(result.exception)
