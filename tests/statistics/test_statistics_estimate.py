"""The estimate type: what it refuses, and that its JSON says the same as it does."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof.errors import UsageError
from lwprof.profiler.statistics import SOURCES, Estimate

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@st.composite
def estimates(draw):
    low, value, high = sorted(draw(st.tuples(finite, finite, finite)))
    unbounded = draw(st.booleans())
    source = draw(st.sampled_from(sorted(SOURCES)))
    measured = source == "measured"
    return Estimate(
        value=value,
        low=-math.inf if unbounded else low,
        high=math.inf if unbounded else high,
        level=draw(st.floats(0.01, 0.99)),
        source=source,
        blocks=draw(st.none() | st.integers(0, 1000)) if measured else None,
        n=draw(st.none() | st.integers(0, 10**6)) if measured else None,
        at_most=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=40)
@given(estimates())
def test_json_round_trip_without_infinities(estimate):
    text = json.dumps(estimate.to_json(), allow_nan=False)
    assert Estimate.from_json(json.loads(text)) == estimate


def test_json_has_the_fields_of_the_contract():
    measured = Estimate(2.0, 1.0, 3.0, blocks=12, n=240).to_json()
    assert measured == {
        "value": 2.0, "low": 1.0, "high": 3.0, "level": 0.95, "source": "measured",
        "blocks": 12, "n": 240,
    }  # fmt: skip
    predicted = Estimate(2.0, 1.0, 3.0, source="predicted").to_json()
    assert set(predicted) == {"value", "low", "high", "level", "source"}
    assert Estimate(1e-6, 0.0, 1e-6, at_most=True).to_json()["at_most"] is True


@pytest.mark.parametrize(
    "fields",
    [
        {"value": math.nan, "low": 0, "high": 1},
        {"value": math.inf, "low": 0, "high": math.inf},
        {"value": 2, "low": 0, "high": 1},
        {"value": 1, "low": math.nan, "high": 2},
        {"value": 1, "low": 0, "high": math.nan},
        {"value": 1, "low": 0, "high": 2, "level": 1.0},
        {"value": 1, "low": 0, "high": 2, "source": "guessed"},
    ],
)
def test_refuses_what_is_no_interval(fields):
    with pytest.raises(UsageError):
        Estimate(**fields)


@pytest.mark.parametrize(
    "change",
    [
        {"value": None}, {"value": "1"}, {"value": True}, {"low": "0"}, {"level": None},
        {"source": 3}, {"blocks": -1}, {"blocks": 1.5}, {"n": True},
    ],
)  # fmt: skip
def test_from_json_refuses_wrong_fields(change):
    with pytest.raises(UsageError):
        Estimate.from_json({**Estimate(1.0, 0.5, 2.0, blocks=3, n=9).to_json(), **change})


def test_from_json_needs_every_end_but_ignores_what_it_does_not_know():
    data = Estimate(1.0, 0.5, 2.0).to_json()
    assert Estimate.from_json({**data, "added_later": [1]}) == Estimate(1.0, 0.5, 2.0)
    with pytest.raises(UsageError, match="high"):
        Estimate.from_json({key: data[key] for key in data if key != "high"})


def test_scaling_keeps_the_order_of_the_ends():
    assert Estimate(2.0, 1.0, 4.0).scaled(-1) == Estimate(-2.0, -4.0, -1.0)
    assert Estimate(2.0, 1.0, 4.0).scaled(3).relative_half_width == pytest.approx(0.75)
