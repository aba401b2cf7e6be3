"""``lwprof store``: exit codes, one line of error, JSON that matches what people see."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from store_world import CONTEXT, World

from lwprof.cli.main import main
from lwprof.profiler.kernels.workload import workload
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import Fact, Subject, open_store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return call


@pytest.fixture
def measured(path: Path) -> Path:
    """A store with two blocks and one workload's latency."""
    made = workload("Relu", inputs=[(1, 3, 4, 4)])
    with open_store(path) as store:
        world = World(store)
        for number in (1, 2):
            store.put_block(world.block(number))
        store.put_subject(Subject(made.key, "workload", "Relu", made.description))
        keys = {"run_id": world.run.run_id, "context": CONTEXT.key, "subject": made.key}
        store.put_facts([Fact.of(Estimate(2e-6, 1e-6, 3e-6), quantity="latency_s", **keys)])
    return path


def test_info_says_what_is_there(measured: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run("store", "info", "--store", measured)
    assert (code, err) == (0, "")
    assert "2 blocks" in out and "1 unfinished" in out and "onnxruntime 1.32.0" in out
    code, out, _ = run("store", "info", "--store", measured, "--json", "-")
    data = json.loads(out)
    assert code == 0 and data["schema"] == "lwprof.store/1" and data["problems"] == []
    assert data["records"] == {"devices": 1, "contexts": 1, "subjects": 2, "runs": 1,
                               "blocks": 2, "kernels": 0, "facts": 1}  # fmt: skip
    (context,) = data["contexts"]
    assert context["key"] == CONTEXT.key and context["context"] == CONTEXT.to_json()
    assert (context["blocks"], context["facts"], context["workloads"]) == (2, 1, 1)
    code, _, err = run("store", "info", "--store", measured, "--json", tmp_path / "no" / "x.json")
    assert code == 2 and err.count("\n") == 1


def test_info_of_a_damaged_store_fails(path: Path, run: Run) -> None:
    with open_store(path) as store:
        World(store)
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("DELETE FROM contexts")
    code, out, err = run("store", "info", "--store", path, "--json", "-")
    assert code == 1 and "refers to nothing in contexts" in json.loads(out)["problems"][0]
    assert all(line.startswith("lwprof: ") for line in err.splitlines())


@pytest.mark.parametrize("name", ["missing.db", "no/folder/missing.db"])
def test_looking_makes_no_store(tmp_path: Path, run: Run, name: str) -> None:
    for arguments in (["info"], ["export", tmp_path / "lut.csv"], ["migrate"]):
        code, out, err = run("store", *arguments, "--store", tmp_path / name)
        assert (code, out) == (2, "")
        assert err.startswith("lwprof: there is no store at") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_export_and_import(measured: Path, run: Run, tmp_path: Path) -> None:
    table, copy = tmp_path / "lut.csv", tmp_path / "copy.db"
    assert run("store", "export", table, "--store", measured, "--device", "host")[0] == 0
    assert len(table.read_text().splitlines()) == 2
    code, out, _ = run("store", "import", table, "--store", copy, "--json", "-")
    data = json.loads(out)
    assert (code, data["rows"], data["numbers"], data["repeated"]) == (0, 1, 1, False)
    code, out, _ = run("store", "import", table, "--store", copy)
    assert code == 0 and "imported before" in out
    code, _, err = run("store", "export", table, "--store", measured, "--device", "hots")
    assert code == 2 and "it has: host" in err
    assert run("store", "export", table, "--store", measured, "--runtime", "tvm")[1].startswith(
        "0 "
    )
    code, _, err = run("store", "export", tmp_path / "lut.xls", "--store", measured)
    assert code == 2 and ".csv or .parquet" in err


def test_merge(measured: Path, run: Run, tmp_path: Path) -> None:
    into = tmp_path / "into.db"
    code, out, _ = run("store", "merge", measured, "--store", into)
    assert code == 0 and "2 blocks" in out
    code, out, _ = run("store", "merge", measured, measured, "--store", into)
    assert (code, out) == (0, "nothing new\n")
    with closing(sqlite3.connect(into)) as plain, plain:
        plain.execute("UPDATE blocks SET arm = 'other' WHERE sequence = 1")
    code, out, err = run("store", "merge", measured, "--store", into, "--json", "-")
    assert code == 1
    assert len(json.loads(out)["conflicts"]) == 1 and err.startswith("lwprof: conflict: ")
    assert run("store", "merge", tmp_path / "none.db", "--store", into)[0] == 2
    assert run("store", "merge", "--store", into)[0] == 2


def test_migrate(measured: Path, run: Run) -> None:
    code, out, _ = run("store", "migrate", "--store", measured)
    assert code == 0 and "present schema 1" in out


def test_terminal_codes_in_names_are_not_passed_on(measured: Path, run: Run) -> None:
    with closing(sqlite3.connect(measured)) as plain, plain:
        plain.execute("UPDATE devices SET name = ?", ("[bold]x\x1b]8;;http://evil\x07",))
    code, out, _ = run("store", "info", "--store", measured)
    assert code == 0 and "\x1b" not in out and "[bold]x" in out
