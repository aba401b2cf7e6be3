"""Channel tables against planted costs that real networks of every width must add up to."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lwprof import zoo
from lwprof.compression.graph.resizing import resizable
from lwprof.errors import UsageError
from lwprof.predictors import ChannelTable
from lwprof.profiler.graph import read

TABLES = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[3] / "shared" / "data"))


class PlantedMachine:
    """Stand-in cost model (environment: synthetic): every MAC takes a nanosecond."""

    quantities = ("latency_s", "energy_j", "peak_memory_bytes")

    def predict(self, models):
        graphs = [read(model) for model in models]
        return SimpleNamespace(mean=np.array([[g.macs * 1e-9, np.nan, 5.0] for g in graphs]))


class PlantedSteps:
    """Stand-in network and cost model (environment: synthetic) with a staircase in its widths."""

    quantities = ("latency_s",)
    names, widths, pairs = ("a", "b"), np.array([8, 4]), ((0, 1),)

    def resize(self, widths):
        return widths

    def predict(self, models):
        return SimpleNamespace(mean=np.array([[1 + 3 * -(-int(m[0]) // 4) + m[1]] for m in models]))


@pytest.mark.parametrize(
    ("name", "shares"), [("squeezenet1_1", (0.0, 0.5)), ("mobilenet_v3_small", (0.5,))]
)
def test_macs_of_any_widths_are_exact(name, shares):
    found = resizable(zoo.build(name))
    table = ChannelTable.build(PlantedMachine(), found, shares)
    assert (table.quantities, table.source) == (("latency_s",), "interpolated")
    random = np.random.default_rng(0)
    widths = np.stack(
        [random.integers(np.maximum(found.widths // 2, 1), found.widths + 1) for _ in range(2)]
    )
    truth = PlantedMachine().predict([found.resize(w) for w in widths]).mean[:, :1]
    np.testing.assert_allclose(table.predict(widths), truth, rtol=1e-9)
    np.testing.assert_allclose(table.expected(widths / found.widths), truth, rtol=1e-9)


def test_steps_are_kept_at_the_widths_that_were_priced():
    steps = PlantedSteps()
    table = ChannelTable.build(steps, steps, shares=np.arange(9) / 8)
    widths = np.array([[w, 4] for w in range(1, 9)] + [[5, 2], [3, 1]])
    np.testing.assert_allclose(table.predict(widths), steps.predict(widths).mean, rtol=1e-12)


def test_torch_gets_the_same_costs_and_their_slopes():
    torch = pytest.importorskip("torch")
    steps = PlantedSteps()
    table = ChannelTable.build(steps, steps)
    shares = torch.tensor([[0.3, 0.7], [1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    found = table.expected(shares)
    np.testing.assert_allclose(found.detach().numpy(), table.expected(shares.detach().numpy()))
    found.sum().backward()
    step = np.array([[1e-6, 0.0], [0.0, 0.0]])
    values = shares.detach().numpy()
    slope = (table.expected(values + step) - table.expected(values - step)).sum() / 2e-6
    assert shares.grad[0, 0].item() == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ([[9, 1]], "a keeps 1 to 8"),
        ([[0, 1]], "a keeps"),
        ([[1.0, 1.0]], "whole"),
        ([[1]], "shape"),
    ],
)
def test_widths_outside_what_was_priced_are_refused(widths, said):
    steps = PlantedSteps()
    with pytest.raises(UsageError, match=said):
        ChannelTable.build(steps, steps).predict(np.array(widths))


def test_a_network_without_removable_channels_is_refused():
    nothing = SimpleNamespace(names=(), widths=np.array([], dtype=int), pairs=())
    with pytest.raises(UsageError, match="no channel"):
        ChannelTable.build(PlantedSteps(), nothing)


def test_the_dense_alexnet_of_ecc_costs_what_its_formula_says():
    path = TABLES / "ecc_alexnet_tx2_energy_model.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not in LWPROF_DATA")
    ecc = json.loads(path.read_text())
    widths = ecc["widths_max"]
    table = ChannelTable.bilinear([f"l{i}" for i in range(9)], widths, ecc["coef"], ecc["bias"])
    assert (table.source, table.origin, table.quantities) == (
        "predicted",
        "imported",
        ("energy_j",),
    )
    half = np.array([widths, [3, 32, *widths[2:]]])
    dense, thinner = table.predict(half)[:, 0]
    assert dense == pytest.approx(0.04982, abs=5e-6)
    assert dense - thinner == pytest.approx((ecc["coef"][0] + ecc["coef"][1]) / 2)
