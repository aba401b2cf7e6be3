"""The simulated energy model by hand, and published tables by their known totals."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import lwprof
from lwprof import zoo
from lwprof.errors import UsageError
from lwprof.predictors.accelerator import (
    Accelerator,
    AcceleratorCostModel,
    Accesses,
    layer_energy,
)
from lwprof.predictors.bit_serial import BitTable
from lwprof.predictors.kernel_features import facts

TABLES = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[3] / "shared" / "data"))


def table(name):
    if not (TABLES / name).exists():
        pytest.skip(f"{name} is not in LWPROF_DATA")
    return csv.DictReader((TABLES / name).read_text().splitlines())


def test_one_access_of_each_level_costs_what_was_published():
    one = Accesses(register=1, array=1, buffer=1, dram=1)
    assert one.relative_energy == 1 + 2 + 6 + 200
    found = layer_energy(10, one, one, one, mac_energy_j=2.0)
    assert (found.value, found.source) == (2 * (10 + 3 * 209), "simulated")


def test_width_is_squared_in_macs_and_linear_in_data_and_zeros_are_skipped():
    half = Accesses(dram=1, bits=8, density=0.5)
    assert half.relative_energy == 50
    assert layer_energy(1000, half, half, Accesses(), 1.0).value == 1000 / 4 / 4 + 100


@pytest.mark.parametrize("bad", [{"dram": -1}, {"density": 1.5}, {"bits": 0}])
def test_impossible_accesses_are_refused(bad):
    with pytest.raises(UsageError):
        Accesses(**bad)


def test_a_layer_by_hand():
    machine = Accelerator(buffer_bytes=200, reuse=10, mac_energy_j=1.0)
    # 90 inputs of 16 bits are 180 bytes: two parts of 100 bytes, so weights are read twice.
    found = machine.energy(macs=1000, weights=50, inputs=90, outputs=200).value
    registers = 1000 * (1 + 1 + 2)
    array_and_buffer = (100 + 100 + 200) * (2 + 6)
    assert found == 1000 + registers + array_and_buffer + 200 * (2 * 50 + 90 + 200)


def test_a_networks_energy_is_the_sum_of_its_operators_and_falls_with_bits_and_zeros():
    model = zoo.build("squeezenet1_1")
    dense = AcceleratorCostModel()
    parts = dense.explain(model).kernels
    costs = dense.predict([model])
    assert costs.mean[0, 0] == pytest.approx(sum(p.energy_j.value for p in parts))
    assert set(costs.source.ravel()) == {"simulated"}
    narrow = AcceleratorCostModel(Accelerator(weight_bits=8, value_bits=8)).predict([model])
    assert costs.mean[0, 0] / 4 < narrow.mean[0, 0] < costs.mean[0, 0] / 2
    first = next(p.node for p in parts if p.operator == "Conv")
    sparse = AcceleratorCostModel(Accelerator(densities={first: 0.5})).explain(model).kernels
    changed = [a.node for a, b in zip(parts, sparse, strict=True) if a.energy_j != b.energy_j]
    assert changed == [first]
    assert np.all(dense.quantile([model], 0.95) == costs.mean)


def test_the_bit_serial_table_costs_mobilenet_v2_at_8_bits_what_was_published():
    costs = BitTable.from_rows(table("haq_mobilenetv2_imagenet100_b16_cycles.csv"))
    eight = np.full((1, costs.layers, 2), 8)
    assert costs.predict(eight)[0] == 39_624_933
    assert (costs.source, costs.origin, costs.unit) == ("simulated", "imported", "cycles")
    mixed = eight.copy()
    mixed[0, 0] = (1, 1)
    assert costs.predict(mixed)[0] == 39_624_933 - 1_620_752 + 200_720
    with pytest.raises(UsageError, match="layer 0"):
        costs.predict(np.full((1, costs.layers, 2), 9))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "empty"),
        ([{"layer": "0", "w_bits": "1", "a_bits": "1"}], "cycles"),
        ([{"layer": "0", "w_bits": "1", "a_bits": "1", "cycles": "-3"}], "row 1"),
        ([{"layer": "0", "w_bits": "1", "a_bits": "1", "cycles": "3"}] * 2, "twice"),
        ([{"layer": "1", "w_bits": "1", "a_bits": "1", "cycles": "3"}], "layer 0"),
    ],
)
def test_damaged_bit_tables_are_refused_in_one_line(rows, said):
    with pytest.raises(UsageError, match=said):
        BitTable.from_rows(rows)


def test_convolutions_have_the_macs_that_netadapt_counts():
    rows = list(table("netadapt_helloworld_macs.csv"))
    first = [row for row in rows if row["layer"] == rows[0]["layer"]]
    for row in first:
        made = lwprof.workload(
            "Conv",
            inputs=[(1, int(row["c_in"]), 32, 32), (int(row["c_out"]), int(row["c_in"]), 3, 3)],
            attributes={"pads": [1, 1, 1, 1]},
        )
        assert facts(made).macs == int(row["macs"])
    assert facts(made).macs < int(first[0]["macs"]) == 442_368
