"""A search says in which environment its numbers were measured; scripts load in one way."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.predictors.space import Space
from lwprof.profiler.store.records import Context
from lwprof.scripts import load, load_function
from lwprof.search import space
from lwprof.search.constraints import ENVIRONMENTS, Priced, environment_of
from lwprof.search.pricing import Counted, priced

TABLE = BlockTable((5,) * 6, np.ones((6, 5, 1)) * 1e-3, [1e-3])


def test_one_stand_in_marks_the_whole_result() -> None:
    cells = space("nasbench201")
    kinds = [Priced(TABLE, e, environment=e) for e in ("hardware", "emulated", "virtual")]
    assert environment_of(kinds[:1]) == "hardware"
    assert environment_of([kinds[0], kinds[2]]) == "virtual"
    assert environment_of(kinds) == "emulated"
    assert environment_of(kinds[:1], "virtual") == "virtual"
    assert environment_of([Counted(cells)]) == "hardware"


def test_the_environment_comes_from_the_cost_models_context() -> None:
    drawn = space("chain")

    @dataclass
    class Answers:
        """A cost model of nothing but a context: what a search reads of it."""

        context: Context
        quantities = ("latency_s",)

        def table(self, asked: Space) -> BlockTable:
            shape = (len(asked.choices), max(asked.choices), 1)
            return BlockTable(asked.choices, np.full(shape, 1e-3), [1e-3])

        def predict(self, _: object) -> SimpleNamespace:
            value = np.full((1, 1), 7e-3)
            return SimpleNamespace(mean=value, low=value, high=value)

    for kind in ENVIRONMENTS:
        cost = Answers(Context("h", "onnxruntime", "1", "CPU", 1, environment=kind))
        found = priced(cost, drawn, "board", np.random.default_rng(0))
        assert environment_of([found]) == kind


def test_scripts_load_in_one_way(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("size = 3\ndef twice(x):\n    return 2 * x\n")
    assert load(f"{script}:size") == 3 and load_function(f"{script}:twice")(2) == 4
    with pytest.raises(UsageError, match="is no function"):
        load_function(f"{script}:size")
    with pytest.raises(UsageError, match="nothing called 'thrice'"):
        load(f"{script}:thrice")
    with pytest.raises(UsageError, match="there is no file"):
        load(f"{tmp_path}/none.py:x")
    with pytest.raises(UsageError, match=r"write script\.py:name"):
        load(str(script))
    script.write_text("1 / 0")
    with pytest.raises(UsageError, match="failed while loading: ZeroDivisionError"):
        load(f"{script}:x")


def test_quantiles_hold_for_their_own_limit_only() -> None:
    from lwprof.cli.search import _limits
    from lwprof.searching import _limits as held

    limits, chances = _limits(("p99.9:30ms@a", "20ms@b", "p5:1s"), "50mJ", None, None)
    assert limits == {"latency@a": 0.03, "latency@b": 0.02, "latency": 1.0, "energy": 0.05}
    assert chances == pytest.approx({"latency@a": 0.999, "latency": 0.05})
    assert [limit.probability for limit in held(limits, chances)] == [
        chances["latency@a"], None, chances["latency"], None,
    ]  # fmt: skip
    for wrong in (("p100:30ms",), ("x9:30ms",), ("p:30ms",), ("30ms", "20ms")):
        with pytest.raises(UsageError, match="--latency"):
            _limits(wrong, None, None, None)
