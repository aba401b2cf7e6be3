"""Every output says what its numbers are: simulated, additive, quantised, imported."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from lwprof import api
from lwprof.cli.main import cli
from lwprof.errors import UsageError
from lwprof.predictors import BlockTable, TableRegressor
from lwprof.predictors.accelerator import AcceleratorCostModel
from lwprof.predictors.labels import column_labels
from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import kernels_on_host
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import OVERHEAD, Context, Device, Fact, Subject, open_store
from lwprof.search import space

TABLES = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[3] / "shared" / "data"))


def network(path):
    """One multiplication of matrices."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor("w", TensorProto.FLOAT, [16, 8], [0.5] * 128)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return str(path)


def planted_store(folder, model, origin):
    url = str(folder / f"{origin}.db")
    context = Context("planted-1", "onnxruntime", "1.32.0", "CPU", 1)
    with open_store(url) as store:
        store.put_device(Device("planted-1", "host", "host"))
        run = store.begin_run({"kind": "plant"}, kind="campaign", context=context)
        store.put_subject(Subject(OVERHEAD, "chain", "overhead"))
        numbers = {(OVERHEAD, "call_s"): "measured_here", (OVERHEAD, "gap_s"): "measured_here"}
        for kernel in kernels_on_host(read(model)):
            store.put_subject(
                Subject(kernel.workload.key, "workload", "", kernel.workload.description)
            )
            numbers[kernel.workload.key, "latency_s"] = origin
        store.put_facts(
            [
                Fact.of(Estimate(1e-6, 9e-7, 1.1e-6, blocks=9), run_id=run.run_id,
                        context=context.key, subject=subject, quantity=quantity, origin=said)
                for (subject, quantity), said in numbers.items()
            ]
        )  # fmt: skip
        store.finish_run(run.run_id)
    return url


@pytest.mark.parametrize("origin", ["imported", "measured_here"])
def test_a_prediction_from_imported_numbers_says_so_in_every_output(tmp_path, origin):
    model = network(tmp_path / "one.onnx")
    url = planted_store(tmp_path, model, origin)
    costs = api.predict(model, store=url)
    assert costs.origin[0, 0] == origin
    [entry] = costs.to_json()["models"]
    assert entry["origin"] == origin == entry["kernels"][0]["origin"]
    shown = CliRunner().invoke(cli, ["predict", model, "--store", url])
    assert shown.exit_code == 0, shown.output
    assert ("imported" in shown.output) == (origin == "imported")


def test_simulated_energy_says_so(tmp_path):
    costs = AcceleratorCostModel().predict([network(tmp_path / "one.onnx")])
    assert set(costs.source.ravel()) == {"simulated"}


def test_a_block_table_keeps_its_labels_in_its_file(tmp_path):
    table = BlockTable((2,), [[[1.0], [2.0]]], [0.0], source="simulated", origin="imported")
    table.save(tmp_path / "t.json")
    stored = json.loads((tmp_path / "t.json").read_text())
    again = BlockTable.load(tmp_path / "t.json")
    assert (stored["source"], stored["origin"]) == (again.source, again.origin)
    assert (again.source, again.origin) == ("simulated", "imported")


def test_additive_and_quantised_columns_are_recognised_and_noisy_ones_are_not():
    cells = space("nasbench201")
    random = np.random.default_rng(0)
    codes = np.unique(cells.sample(300, random), axis=0)
    prices = random.uniform(1, 2, (6, 5))
    exact = sum(prices[b, codes[:, b]] for b in range(6)) * 1e-3
    assert column_labels(exact, cells, codes) == ("additive",)
    noisy = exact * np.exp(random.normal(0, 0.01, len(exact)))
    assert column_labels(noisy, cells, codes) == ()
    whole = np.maximum(1, np.rint(exact * 1e3)) * 1e-3
    assert column_labels(whole, cells, codes, ["simulated"]) == ("quantised", "simulated")
    assert column_labels(np.round(noisy, 7), cells, codes) == (), "digits printed are no steps"
    with pytest.raises(UsageError, match="guessed"):
        column_labels(noisy, declared=["guessed"])
    assert TableRegressor(cells).fit(codes[:60], whole[:60]).labels_ == ("quantised",)


def test_published_columns_carry_the_labels_that_are_known_of_them():
    pandas = pytest.importorskip("pandas")
    path = TABLES / "fbnet_latency.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in LWPROF_DATA")
    table = pandas.read_csv(path, dtype={"ops": str}).head(1500)
    blocks = space("fbnet")
    text = next(c for c in table.columns if table[c].dtype == object or c == "ops")
    codes = blocks.encode(table[text].tolist())
    labels = {c: column_labels(table[c].to_numpy(float) / 1e3, blocks, codes)
              for c in table.columns if c not in ("index", text, "mmacs")}  # fmt: skip
    assert {c for c, said in labels.items() if "additive" in said} == {
        "raspi4", "pixel3", "eyeriss", "fpga",
    }  # fmt: skip
    assert {"pixel2", "essential_ph_1", "samsung_a50", "samsung_s7"} == {
        c for c, said in labels.items() if "quantised" in said
    }
