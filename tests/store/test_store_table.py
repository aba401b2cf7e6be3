"""Tables: the way out and back loses nothing, and nothing in a cell is run or believed."""

from __future__ import annotations

import csv
import gzip
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from store_world import CONTEXT

from lwprof.errors import MissingExtra, StoreError
from lwprof.profiler.kernels.workload import workload
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import (
    Device,
    Fact,
    Store,
    Subject,
    export_table,
    import_table,
    merge,
    open_store,
)
from lwprof.profiler.store.table_files import protected, read_raw, unprotected

CONV = workload("Conv", inputs=[(1, 64, 56, 56), (128, 64, 3, 3)], attributes={"pads": [1] * 4})
RELU = workload("Relu", inputs=[(1, 3, 4, 4)])
EVIL = '=cmd|"/c calc"!A1'


@pytest.fixture
def filled(store: Store) -> Store:
    store.put_device(Device("unit-1", EVIL, "@board"))
    run = store.begin_run({"a": 1}, kind="measure", context=CONTEXT)
    other = replace(CONTEXT, affinity=None, power_mode="-15W", options={"schedule": "+tuned"})
    store.put_context(other)
    numbers = {
        "latency_s": Estimate(0.1 + 0.2, 0.29, 0.31, blocks=8, n=400),
        "isolated_latency_s": Estimate(0.25, -math.inf, math.inf, blocks=1, n=50),
        "energy_j": Estimate(1.5, 1.0, 2.0, source="simulated"),
        "peak_memory_bytes": Estimate(2.0**40 + 1, 2.0**40, 2.0**41, blocks=8, n=400),
    }
    facts = []
    for made in (CONV, RELU):
        store.put_subject(Subject(made.key, "workload", "ignored", made.description))
        for context in (CONTEXT, other):
            keys = {"run_id": run.run_id, "context": context.key, "subject": made.key}
            facts += [Fact.of(e, quantity=name, **keys) for name, e in numbers.items()]
    bound = Estimate(3e-6, -math.inf, 3e-6, blocks=4, n=9, at_most=True)
    facts.append(Fact.of(bound, quantity="latency_s", run_id=run.run_id,
                         context=CONTEXT.key, subject=RELU.key))  # fmt: skip
    store.put_facts(facts)
    return store


def known(store: Store) -> set[tuple[object, ...]]:
    """Everything the tables are to carry, without what an import may change (origin, run)."""
    return {
        (fact.context, fact.subject, fact.quantity, fact.estimate())
        for context in store.contexts()
        for subject in store.subjects(kind="workload")
        for fact in store.lookup([subject.key], context.key).get(subject.key, {}).values()
    }


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_comes_back_as_it_went(filled: Store, tmp_path: Path, ending: str) -> None:
    table, again = tmp_path / f"lut.{ending}", tmp_path / f"again.{ending}"
    rows = export_table(filled, table)
    with open_store(tmp_path / "b.db") as copy:
        report = import_table(copy, table)
        assert (report.rows, report.facts, report.foreign) == (rows, 16, 0)
        assert known(copy) == known(filled)
        assert len(known(copy)) == 16
        assert {c.key for c in copy.contexts()} == {c.key for c in filled.contexts()}
        assert copy.devices() == [Device("unit-1", EVIL, "@board")]
        for subject in copy.subjects(kind="workload"):
            ours = filled.subject(subject.key)
            assert ours is not None and ours.description == subject.description
        assert {fact.origin for fact in copy.facts()} == {"imported"}
        export_table(copy, again)
    _, first = read_raw(table)
    _, second = read_raw(again)
    told = [{**cells, "origin": "imported"} for _, cells in first]
    assert told == [dict(cells) for _, cells in second]


def test_numbers_never_share_the_evidence_of_others(filled: Store, tmp_path: Path) -> None:
    export_table(filled, tmp_path / "lut.csv")
    _, rows = read_raw(tmp_path / "lut.csv")
    for _, row in rows:
        if row["energy_j"]:
            assert (row["source"], row["n"], row["latency_s"]) == ("simulated", "", "")
        if row["isolated_latency_s"]:
            assert (row["n"], row["blocks"], row["isolated_latency_s_low"]) == ("50", "1", "")
        if row["peak_memory_bytes"]:
            assert (row["n"], row["blocks"], row["source"]) == ("400", "8", "measured")


def test_below_the_resolution_no_value_is_told(filled: Store, tmp_path: Path) -> None:
    export_table(filled, tmp_path / "lut.csv", contexts=[CONTEXT])
    _, rows = read_raw(tmp_path / "lut.csv")
    (row,) = [r for _, r in rows if r["workload"] == RELU.key and r["latency_s_high"]]
    assert (row["latency_s"], row["latency_s_low"], row["latency_s_high"]) == ("", "", "3e-06")


def test_no_cell_is_a_formula(filled: Store, tmp_path: Path) -> None:
    export_table(filled, tmp_path / "lut.csv")
    with (tmp_path / "lut.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'" + EVIL in cells and "'@board" in cells and "'-15W" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(st.text())
@example("'=1")
@example("''")
@example("\t=1")
def test_protection_is_undone_exactly(text: str) -> None:
    assert unprotected(protected(text)) == text
    assert not protected(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_importing_again_changes_nothing(filled: Store, tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    export_table(filled, table)
    with open_store(tmp_path / "b.db") as copy, open_store(tmp_path / "c.db") as third:
        first = import_table(copy, table)
        assert not first.repeated
        again = import_table(copy, table)
        assert again.repeated and again.facts == 0 and again.run_id == first.run_id
        assert len(copy.runs()) == 1
        # Two machines that imported the same file agree when they are merged.
        import_table(third, table)
        assert merge(copy, third).conflicts == ()


def test_the_measured_wins_over_the_imported(filled: Store, tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    export_table(filled, table)
    import_table(filled, table)
    facts = filled.lookup([CONV.key], CONTEXT.key)[CONV.key]
    assert {fact.origin for fact in facts.values()} == {"measured_here"}


def test_models_stay_out_of_the_table(filled: Store, tmp_path: Path) -> None:
    filled.put_subject(Subject("ab" * 32, "model", "net"))
    (run,) = filled.runs()
    keys = {"run_id": run.run_id, "context": CONTEXT.key, "subject": "ab" * 32}
    filled.put_facts([Fact.of(Estimate(1.0, 0.9, 1.1), quantity="latency_s", **keys)])
    export_table(filled, tmp_path / "lut.csv")
    assert ("ab" * 32) not in (tmp_path / "lut.csv").read_text()


def changed(path: Path, column: str, value: str, row: int = 0) -> None:
    """Writes another value into one cell of a CSV file."""
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    lines[row + 1][lines[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("latency_s", "nan", "latency_s: expected a finite number"),
        ("latency_s", "1e999", "finite number"),
        ("latency_s", "fast", "finite number"),
        ("latency_s", "9.0", "low <= value <= high"),
        ("latency_s", "-1", "negative"),
        ("n", "1.5", "n: expected a whole number"),
        ("n", "-1", "whole number"),
        ("workload", "conv1", "no workload key"),
        ("workload", RELU.key, "does not have the key"),
        ("workload", "w1:" + "g" * 64, "no workload key"),
        ("description", "{", "description"),
        ("description", '1,"x":2', "description"),
        ("description", "[]", "no JSON object"),
        ("description", "{}", "description"),
        ("affinity", '"all"', "whole numbers"),
        ("options", "7", "not a context"),
        ("threads", "", "whole numbers"),
        ("runtime", "", "not text"),
        ("environment", "dream", "unknown environment"),
        ("origin", "stolen", "origin 'stolen'"),
        ("source", "guessed", "unknown source"),
        ("level", "95", "level"),
    ],
)
def test_a_wrong_cell_is_named_and_nothing_is_taken(
    filled: Store, tmp_path: Path, column: str, value: str, says: str
) -> None:
    table = tmp_path / "lut.csv"
    export_table(filled, table)
    changed(table, column, value)
    with open_store(tmp_path / "b.db") as copy:
        with pytest.raises(StoreError, match=says) as caught:
            import_table(copy, table)
        assert f"{table}, line 2" in str(caught.value)
        assert copy.runs() == [] and copy.contexts() == []


def test_the_same_number_twice_is_refused(filled: Store, tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    export_table(filled, table)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, lines[1]]))
    with pytest.raises(StoreError, match=f"line {len(lines) + 1}: .* stands in .*line 2 too"):
        import_table(filled, table)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "its first line must name"),
        (b"a,b\n1,2\n", "lacks workload, hardware_id"),
        (b"a,a\n1,2\n", "name each column once"),
        (b"a,b\n1\n", "is no lwprof.table/1"),
        (b"\xff\xfe\x00", "is damaged"),
        (b'"a', "is damaged"),
    ],
)
def test_what_is_no_table_is_refused(
    store: Store, tmp_path: Path, content: bytes, says: str
) -> None:
    table = tmp_path / "lut.csv"
    table.write_bytes(content)
    with pytest.raises(StoreError, match=says):
        import_table(store, table)


@pytest.mark.parametrize("name", ["lut.txt", "lut.parquet", "lut.csv.gz", "missing.csv", "lut.csv"])
def test_unreadable_files_are_one_line(store: Store, tmp_path: Path, name: str) -> None:
    if name == "lut.csv":
        (tmp_path / name).mkdir()
    elif name != "missing.csv":
        (tmp_path / name).write_bytes(b"neither gzip nor parquet")
    with pytest.raises(StoreError) as caught:
        import_table(store, tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_pyarrow_names_the_extra(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra, match=r"lwprof\[parquet\]"):
        export_table(filled, tmp_path / "lut.parquet")
    with pytest.raises(MissingExtra, match=r"lwprof\[parquet\]"):
        import_table(filled, tmp_path / "in.parquet")
    assert [path.name for path in tmp_path.iterdir() if "lut" in path.name] == []


def test_a_failed_export_leaves_the_old_file(filled: Store, tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    table.write_text("old")
    with filled.writing() as connection:
        connection.exec_driver_sql("UPDATE subjects SET description = '{' WHERE kind = 'workload'")
    with pytest.raises(StoreError, match="subject"):
        export_table(filled, table)
    assert table.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


MAPPING = """
source = "measured"
where = { set = "random" }
n = "{runs}"

[context]
device = "tx2-{owner}"
runtime = "pytorch"
runtime_version = "1.4"
provider = "CUDA"
threads = 4
options = { backend = "cudnn" }

[quantities]
latency_s = { column = "latency_ms", unit = "ms" }
energy_j = { column = "energy", factor = 1e-3, low = "energy_low", high = "energy_high" }

[workload]
op = "{op}"
ops = { conv2d = "Conv" }
inputs = [["{n}", "{cin}", "{hw}", "{hw}"], ["{cout}", "{cin}/{groups}", "{k}", "{k}"]]
attributes = { strides = ["{s}", "{s}"], pads = ["{p}", "{p}", "{p}", "{p}"], group = "{groups}" }
"""
HEADER = "set,owner,op,n,cin,hw,cout,k,s,p,groups,runs,latency_ms,energy,energy_low,energy_high\n"
ROW = "random,ann,conv2d,1,64,56,128,3,1,1,1,20,1.5,7.5,7,8\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    table, mapping = tmp_path / "theirs.csv", tmp_path / "mapping.toml"
    mapping.write_text(MAPPING)
    yield table, mapping


def test_a_foreign_table_finds_our_workloads(store: Store, foreign: tuple[Path, Path]) -> None:
    table, mapping = foreign
    table.write_text(HEADER + ROW + ROW.replace("random", "lattice"))
    report = import_table(store, table, mapping)
    assert (report.rows, report.facts, report.foreign, report.skipped) == (1, 2, 0, 1)
    (context,) = store.contexts("imported:tx2-ann")
    assert (context.runtime, context.provider, context.threads) == ("pytorch", "CUDA", 4)
    assert dict(context.options) == {"backend": "cudnn"}
    facts = store.lookup([CONV.key], context.key)[CONV.key]
    assert facts["latency_s"].estimate() == Estimate(1.5e-3, -math.inf, math.inf, n=20)
    assert facts["energy_j"].estimate() == Estimate(7.5e-3, 7e-3, 8e-3, n=20)
    assert facts["latency_s"].origin == "imported"


def test_a_grouped_convolution_divides_its_channels(
    store: Store, foreign: tuple[Path, Path]
) -> None:
    table, mapping = foreign
    row = ROW.replace(",128,3,1,1,1,", ",64,3,1,1,64,")
    with gzip.open(f"{table}.gz", "wt") as file:
        file.write(HEADER + row)
    import_table(store, f"{table}.gz", mapping)
    depthwise = workload(
        "Conv",
        inputs=[(1, 64, 56, 56), (64, 1, 3, 3)],
        attributes={"pads": [1] * 4, "group": 64},
    )
    assert store.subject(depthwise.key) is not None


def test_rows_of_one_workload_are_joined_by_their_median(
    store: Store, foreign: tuple[Path, Path]
) -> None:
    table, mapping = foreign
    rows = [ROW.replace(",1.5,", f",{value},") for value in (3.0, 1.0, 2.0)]
    table.write_text(HEADER + "".join(rows))
    report = import_table(store, table, mapping)
    assert (report.rows, report.facts, report.joined) == (3, 2, 2)
    (fact,) = store.facts(quantity="latency_s")
    assert fact.estimate() == Estimate(2e-3, -math.inf, math.inf, n=60)


def test_what_cannot_be_expressed_is_kept_and_counted(
    store: Store, foreign: tuple[Path, Path]
) -> None:
    table, mapping = foreign
    odd = [
        ROW.replace("conv2d", "magic"),
        ROW.replace(",64,56", ",65,56").replace(",1,20,", ",2,20,"),  # 65 channels in 2 groups
        ROW.replace(",3,1,1,1,", ",x,1,1,1,"),
    ]
    table.write_text(HEADER + ROW + "".join(odd))
    report = import_table(store, table, mapping)
    assert (report.rows, report.facts, report.foreign) == (4, 8, 3)
    assert len(report.reasons) == 3
    assert any("magic" in reason for reason in report.reasons)
    kept = store.subjects(kind="foreign")
    assert {subject.description["op"] for subject in kept} == {"conv2d", "magic"}
    assert all(subject.key.startswith("foreign:") for subject in kept)
    # They survive a round trip through our own table.
    out = table.with_name("out.csv")
    export_table(store, out)
    with open_store(table.with_name("b.db")) as copy:
        import_table(copy, out)
        assert {s.key for s in copy.subjects(kind="foreign")} == {s.key for s in kept}


def test_without_workload_every_row_is_foreign(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        'key = ["op", "cin"]\n[context]\ndevice = "d"\nruntime = "r"\n'
        '[quantities]\nlatency_s = { column = "us", unit = "us" }\n'
    )
    (tmp_path / "t.csv").write_text("op,cin,note,us\na,1,x,10\na,1,y,20\nb,1,x,30\n")
    report = import_table(store, tmp_path / "t.csv", tmp_path / "m.toml")
    assert (report.foreign, report.joined) == (3, 1)
    values = sorted(fact.value for fact in store.facts())
    assert values == pytest.approx([15e-6, 30e-6])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[workload]", "[work]"), "unknown field `work`"),
        (('unit = "ms"', 'unit = "mJ"'), "unknown unit"),
        (('unit = "ms"', 'unit = "ms", factor = 2.0'), "a unit and a factor"),
        (("factor = 1e-3", "factor = -1.0"), "must be positive"),
        (("energy_j =", "joules ="), "no quantity"),
        (('"latency_ms"', '"time"'), "no column 'time'"),
        (('"{cout}"', '"{cuot}"'), "no column 'cuot'"),
        (("threads = 4", 'threads = "4; rm"'), "cannot compute"),
        (('source = "measured"', 'source = "guessed"'), "unknown source"),
        (("[context]", "[context"), "not TOML"),
        (('device = "tx2-{owner}"', ""), "missing required field `device`"),
    ],
)
def test_a_wrong_mapping_says_where(
    store: Store, foreign: tuple[Path, Path], change: tuple[str, str], says: str
) -> None:
    table, mapping = foreign
    assert change[0] in MAPPING
    mapping.write_text(MAPPING.replace(*change))
    table.write_text(HEADER + ROW)
    with pytest.raises(StoreError, match=says):
        import_table(store, table, mapping)
    assert store.runs() == []


@pytest.mark.parametrize("value", ["", "fast", "-1", "inf"])
def test_a_foreign_cell_that_is_no_number_is_named(
    store: Store, foreign: tuple[Path, Path], value: str
) -> None:
    table, mapping = foreign
    table.write_text(HEADER + ROW + ROW.replace(",1.5,", f",{value},"))
    with pytest.raises(StoreError, match="line 3.*latency_ms"):
        import_table(store, table, mapping)
    assert store.runs() == []


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1x64x56x56", (1, 64, 56, 56)),
        ("[1, 64, 56, 56]", (1, 64, 56, 56)),
        ("(1,64,56,56)", (1, 64, 56, 56)),
        ("1 64 56 56", (1, 64, 56, 56)),
    ],
)
def test_shapes_in_one_cell(
    store: Store, tmp_path: Path, text: str, shape: tuple[int, ...]
) -> None:
    (tmp_path / "m.toml").write_text(
        '[context]\ndevice = "d"\nruntime = "r"\n[quantities]\nlatency_s = { column = "s" }\n'
        '[workload]\nop = "Relu"\ninputs = ["{shape}"]\n'
    )
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["shape", "s"], [text, "1"]])
    import_table(store, tmp_path / "t.csv", tmp_path / "m.toml")
    assert store.subject(workload("Relu", inputs=[shape]).key) is not None
