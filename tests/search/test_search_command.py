"""``lwprof search``: limits, JSON, infeasible limits, resuming, verifying by real runs."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lwprof
from lwprof.cli.main import cli
from lwprof.errors import RunError, UsageError
from lwprof.search import space
from lwprof.search.spaces.options import OptionSpace

ROWS = [("base", "", 0.5, 0.1, 60.0)] + [
    (f"b{block}", f"c{choice}", 0.1 * choice + 0.01 * block, 0.05 * choice, choice**0.5 + 0.1 * block)
    for block in range(5) for choice in range(4)
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    lines = ["block,choice,latency_s,energy_j,merit"]
    path.write_text("\n".join(lines + [",".join(map(str, row)) for row in ROWS]) + "\n")
    return path


def search(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["search", *map(str, arguments), "--json", "-"],
                              catch_exceptions=False)  # fmt: skip
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_the_best_and_the_front_of_a_table(table: Path) -> None:
    exact = search(table, "--latency", "900ms", "--strategy", "exact")
    found = search(table, "--latency", "900ms", "--evaluations", "600")
    assert found["schema"] == "lwprof.search/1" and found["space"] == "mine"
    assert found["best"]["merit"] == pytest.approx(exact["best"]["merit"])
    assert exact["evaluations"] == 1 and found["evaluations"] <= 600
    assert found["best"]["costs"]["latency_s"]["value"] <= 0.9
    assert found["best"]["costs"]["latency_s"]["source"] == "measured"
    costs = [p["costs"]["latency_s"]["value"] for p in found["front"]]
    merits = [p["accuracy"] for p in found["front"]]
    assert costs == sorted(costs) and merits == sorted(merits) and len(set(merits)) == len(merits)
    assert any(not p["feasible"] for p in found["front"])
    mine = space(str(table))
    code = mine.encode([found["best"]["architecture"]])
    assert mine.table.predict(code)[0, 0] == pytest.approx(  # type: ignore[attr-defined]
        found["best"]["costs"]["latency_s"]["value"]
    )
    assert found["constraints"] == [
        {"quantity": "latency_s", "limit": 0.9, "probability": None, "device": None}
    ]


def test_an_impossible_limit_is_answered_with_the_least(table: Path) -> None:
    with pytest.raises(RunError, match=r"least possible is 600 ms"):
        CliRunner().invoke(cli, ["search", str(table), "--latency", "10ms"], catch_exceptions=False,
                           standalone_mode=False)  # fmt: skip
    result = lwprof.search_architectures(str(table), limits={"latency": 0.01, "energy": 0.01})
    assert result.best is None
    assert [r.value for r in result.reachable] == pytest.approx([0.6, 0.1])


def test_a_search_cut_off_goes_on(table: Path, tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    asked: list[str] = []

    def merit(architectures: list[str]) -> np.ndarray:
        asked.extend(architectures)
        if len(asked) > 150:
            raise KeyboardInterrupt
        return np.array([len(set(a)) for a in architectures], dtype=float)

    options: dict[str, Any] = {"limits": {"latency": 1.0}, "merit": merit, "resume": str(kept)}
    lwprof.search_architectures(str(table), evaluations=100, **options)
    before = set(asked)
    asked.clear()
    whole = lwprof.search_architectures(str(table), evaluations=180, **options)
    assert whole.evaluations == 180 and not before & set(asked) and len(asked) == 80
    with pytest.raises(UsageError, match="another search"):
        lwprof.search_architectures(str(table), **{**options, "limits": {"latency": 0.9}})
    kept.write_text("{}")
    with pytest.raises(UsageError, match="no state of a search"):
        lwprof.search_architectures(str(table), **options)


def test_merits_from_files_and_scripts(table: Path, tmp_path: Path) -> None:
    cells = tmp_path / "accuracy.csv"
    cells.write_text("arch,good,bad\n333333,90,1\n301024,80,2\n111111,70,3\n")
    costs = tmp_path / "costs.json"
    lwprof.predictors.BlockTable((5,) * 6, np.ones((6, 5, 1)) * 1e-3, [1e-3]).save(costs)
    found = search("nasbench201", "--table", costs, "--latency", "10ms", "--merit", f"{cells}:good",
                   "--strategy", "exact")  # fmt: skip
    assert found["best"]["accuracy"] == 90
    script = tmp_path / "worth.py"
    script.write_text("def worth(archs):\n    return [-a.count('none') for a in archs]\n")
    found = search("nasbench201", "--table", costs, "--latency", "10ms", "--merit",
                   f"{script}:worth", "--evaluations", "500")  # fmt: skip
    assert found["best"]["merit"] == 0
    macs = search("nasbench201", "--table", costs, "--latency", "p99:10ms", "--merit", "macs")
    assert macs["best"]["accuracy"] is None and macs["best"]["merit"] > 200
    assert macs["constraints"][0]["probability"] == 0.99
    with pytest.raises(UsageError, match="Give --merit"):
        lwprof.search_architectures("nasbench201", tables=[str(costs)], limits={"latency": 1.0})


class Convolutions(OptionSpace):
    name = "convolutions"
    blocks = {f"width{i}": (8, 32, 64) for i in range(3)}  # noqa: RUF012
    drawing = {"resolution": 48, "classes": 10}  # noqa: RUF012

    def draw(self, net: Any, **widths: int) -> Any:
        from lwprof.zoo.blocks import classifier, conv_bn

        x = net.image()
        for width in widths.values():
            x = conv_bn(net, x, width, 3)
        return classifier(net, x)


def timed(model: Any) -> dict[str, Any]:
    """Median of real runs on this host, with the scatter of single runs as its interval."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    given, times = {"input": np.ones((1, 3, 48, 48), dtype=np.float32)}, []
    for _ in range(12):
        start = time.perf_counter()
        session.run(None, given)
        times.append(time.perf_counter() - start)
    low, value, high = np.quantile(times, [0.1, 0.5, 0.9]).tolist()
    return {"value": value, "low": low, "high": high, "level": 0.8, "source": "measured"}


def test_finalists_are_measured_and_a_wrong_table_is_caught(tmp_path: Path) -> None:
    mine = Convolutions()
    slow = timed(mine.build("64 64 64"))["value"]
    costs = np.zeros((3, 3, 1)) + np.array([1e-6, 2e-6, 3e-6])[None, :, None]
    path = tmp_path / "wrong.json"  # promises everything a thousand times too fast
    lwprof.predictors.BlockTable((3, 3, 3), costs, [1e-6]).save(path)
    result = lwprof.search_architectures(
        mine, limits={"latency": slow / 4}, merit="macs", tables=[str(path)], verify=8,
        strategy="exact", measure=timed,
    )  # fmt: skip
    assert 1 <= len(result.verified) <= 8
    for one in result.to_json()["verified"]:
        assert one["meets"] == (one["latency_s"]["value"] <= slow / 4)
        assert one["predicted_latency_s"]["value"] < one["latency_s"]["value"]
    if result.best is not None:  # the fastest of them may still be too slow on a busy machine
        assert any(v.meets and v.point == result.best for v in result.verified)


def test_memory_limits_are_counted_from_graphs() -> None:
    mine = Convolutions()
    result = lwprof.search_architectures(
        mine, limits={"peak_memory": 48 * 48 * 4 * 64 * 2, "size": 60_000}, merit="macs",
        strategy="exact",
    )  # fmt: skip
    assert result.best is not None
    model = mine.build(result.best.architecture)
    inspected = lwprof.inspect(model)
    assert result.best.costs["peak_memory_bytes"]["value"] == inspected.peak_memory_bytes
    assert inspected.size_bytes <= 60_000
    better = mine.all_codes()
    legal = [lwprof.inspect(mine.build(t)) for t in mine.decode(better)]
    fits = [m.macs for m in legal if m.size_bytes <= 60_000
            and (m.peak_memory_bytes or 0) <= 48 * 48 * 4 * 64 * 2]  # fmt: skip
    assert inspected.macs == max(m for m in fits if m is not None)
