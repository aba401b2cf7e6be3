"""Units: the parser refuses what has no clear meaning, and printing keeps the figure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwprof.errors import UnitError
from lwprof.units import (
    format_quantity,
    parse_duration,
    parse_energy,
    parse_fraction,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30ms", 0.030), ("5m", 300.0), ("1.5h", 5400.0), (" 250 µs ", 250e-6), ("2e3ns", 2e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


def test_decimal_and_binary_sizes_differ() -> None:
    assert parse_size("320KiB") == 327_680
    assert parse_size("320kB") == 320_000


def test_energies_and_fractions() -> None:
    assert parse_energy("50mJ") == pytest.approx(0.05)
    assert parse_fraction("5%") == pytest.approx(0.05)
    assert parse_fraction("0.05") == pytest.approx(0.05)


@pytest.mark.parametrize("text", ["30", "30mJ", "-5ms", "ms", "", "1e999s", "5 M S", "nan s"])
def test_bad_durations_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UnitError, match="duration"):
        parse_duration(text)


def test_wrong_case_is_refused_with_the_right_spelling() -> None:
    with pytest.raises(UnitError, match="did you mean 'mJ'"):
        parse_energy("50MJ")


@given(st.floats(1e-9, 9e3))
def test_printed_durations_parse_back(seconds: float) -> None:
    text = format_quantity(seconds, "s", digits=6)
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-5)


def test_rounding_moves_to_the_next_unit() -> None:
    assert format_quantity(999.96e-6, "s") == "1.00 ms"
    assert format_quantity(0.0123, "s") == "12.3 ms"
    assert format_quantity(None, "J") == "unknown"
