"""Block tables: planted additive costs, expectation by enumeration, files."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lwprof.errors import StoreError, UsageError
from lwprof.predictors import BlockTable
from lwprof.search import space


def uneven() -> BlockTable:
    costs = np.random.default_rng(0).random((3, 4, 2))
    costs[1, 2:] = np.nan
    return BlockTable((4, 2, 4), costs, [1.0, 2.0], ("latency_s", "energy_j"))


def test_sums_are_those_of_a_loop() -> None:
    table = uneven()
    codes = np.array(list(itertools.product(range(4), range(2), range(4))))
    loop = [table.base + sum(table.costs[b, c] for b, c in enumerate(code)) for code in codes]
    assert table.predict(codes) == pytest.approx(np.array(loop))


def test_expectation_is_that_of_enumeration() -> None:
    table = uneven()
    probs = np.random.default_rng(1).random((3, 4))
    probs[1, 2:] = 0
    probs /= probs.sum(axis=1, keepdims=True)
    codes = np.array(list(itertools.product(range(4), range(2), range(4))))
    weight = np.prod([probs[b, codes[:, b]] for b in range(3)], axis=0)
    assert table.expected(probs) == pytest.approx(weight @ table.predict(codes))


def test_torch_gets_gradients() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    table = uneven()
    probs = torch.full((3, 4), 0.25, dtype=torch.float64, requires_grad=True)
    table.expected(probs)[0].backward()
    assert probs.grad.numpy() == pytest.approx(np.nan_to_num(table.costs[:, :, 0]))


def test_additive_truth_is_recovered() -> None:
    nets, rng = space("fbnet"), np.random.default_rng(0)
    truth = rng.random((22, 9)) * 1e-3
    codes = nets.sample(400, rng)
    y = 2e-3 + truth[np.arange(22), codes].sum(axis=1)
    table = BlockTable.fit(nets, codes, y, source="measured")
    test = nets.sample(200, rng)
    assert table.predict(test)[:, 0] == pytest.approx(
        2e-3 + truth[np.arange(22), test].sum(axis=1), rel=1e-6
    )
    assert table.source == "measured"


def test_files_keep_every_label(tmp_path: Path) -> None:
    table = uneven()
    table.source, table.origin = "simulated", "imported"
    table.save(tmp_path / "t.json")
    again = BlockTable.load(tmp_path / "t.json")
    assert (again.source, again.origin, again.quantities) == (
        "simulated", "imported", ("latency_s", "energy_j"))  # fmt: skip
    assert again.predict(np.array([[3, 1, 0]])) == pytest.approx(
        table.predict(np.array([[3, 1, 0]]))
    )
    (tmp_path / "t.json").write_text('{"schema": "lwprof.block_table/1"}')
    with pytest.raises(StoreError, match="no block table"):
        BlockTable.load(tmp_path / "t.json")


def test_unknown_choices_are_named() -> None:
    with pytest.raises(UsageError, match="block 1 has choices 0 to 1, not 3 to 3"):
        uneven().predict(np.array([[0, 3, 0]]))
    with pytest.raises(UsageError, match="8 samples are too few|at least 177"):
        nets = space("fbnet")
        BlockTable.fit(nets, nets.sample(8, np.random.default_rng(0)), np.ones(8))


def test_serving_imports_neither_pandas_nor_sklearn() -> None:
    program = (
        "import sys; from lwprof.predictors import BlockTable, KernelRegressor, "
        "TableRegressor, TransferRegressor; from lwprof.search import space, pick; "
        "sys.exit(bool({'pandas', 'sklearn', 'torch', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
