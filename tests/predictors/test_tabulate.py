"""Block tables made from a cost model, against planted additive costs."""

from types import SimpleNamespace

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors.tabulate import tabulate


class Planted:
    """Stand-in space and cost model (environment: synthetic): a network is its code's text."""

    name = "planted"
    choices = (3, 2, 4)

    def __init__(self, quantities=("latency_s", "peak_memory_bytes")):
        self.quantities = quantities
        self.prices = np.random.default_rng(0).normal(size=(3, 4))
        self.asked = []

    def decode(self, codes):
        return ["".join(map(str, code)) for code in codes]

    def build(self, text):
        return text

    def predict(self, models):
        self.asked += models
        sums = [7 + sum(self.prices[b, int(c)] for b, c in enumerate(m)) for m in models]
        return SimpleNamespace(mean=np.array([[s, 1.0] for s in sums])[:, : len(self.quantities)])


def test_additive_costs_are_recovered_for_every_code():
    planted = Planted()
    table = tabulate(planted, planted)
    codes = np.array(list(np.ndindex(*planted.choices)))
    truth = Planted().predict(planted.decode(codes)).mean[:, :1]
    np.testing.assert_allclose(table.predict(codes), truth, rtol=1e-12)


def test_each_network_is_priced_once_and_the_column_is_labelled_additive():
    planted = Planted()
    table = tabulate(planted, planted)
    assert len(planted.asked) == len(set(planted.asked)) == 1 + 2 + 1 + 3
    assert (table.source, table.quantities) == ("additive", ("latency_s",))
    assert np.nanmin(table.costs) == 0


def test_a_peak_alone_is_refused_since_it_does_not_add_up():
    planted = Planted(("peak_memory_bytes",))
    with pytest.raises(UsageError, match="adds up"):
        tabulate(planted, planted)
