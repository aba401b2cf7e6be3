"""The timed loops: order, counts, limits, and nothing but the inference between two readings."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof.agents.program import timing

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)


@settings(max_examples=40)
@given(NAMES, st.integers(1, 40))
def test_abba_cancels_a_linear_drift(names: list[str], rounds: int) -> None:
    order = timing.slice_order(names, 2 * rounds, "abba", 0)
    assert Counter(order) == dict.fromkeys(names, 2 * rounds)
    places = {name: [i for i, n in enumerate(order) if n == name] for name in names}
    # Every two rounds each session has the same mean place in time.
    for start in range(0, 2 * rounds, 2):
        assert len({sum(places[name][start : start + 2]) for name in names}) == 1


def test_abba_of_two_is_abba() -> None:
    assert "".join(timing.slice_order(["a", "b"], 4, "abba", 0)) == "abbaabba"


@settings(max_examples=40)
@given(NAMES, st.integers(1, 20), st.integers(0, 2**32))
def test_random_order_is_balanced_and_repeatable(names: list[str], slices: int, seed: int) -> None:
    order = timing.slice_order(names, slices, "random", seed)
    width = len(names)
    assert all(sorted(order[i : i + width]) == sorted(names) for i in range(0, len(order), width))
    assert order == timing.slice_order(names, slices, "random", seed)


def test_random_order_depends_on_its_seed() -> None:
    orders = {tuple(timing.slice_order(list("abcd"), 8, "random", seed)) for seed in range(5)}
    assert len(orders) == 5


class Ticks:
    """A clock that stands still but for what the timed calls add to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now * 1e-9)

    def call(self, durations: list[int]) -> Callable[[], None]:
        left = list(durations)

        def run() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    return Ticks(monkeypatch)


def test_each_call_is_timed_exactly(ticks: Ticks) -> None:
    assert timing.exactly(ticks.call([5, 0, 70, 1]), 4) == [5, 0, 70, 1]


def test_collector_rests_while_timing_and_works_again_after() -> None:
    seen: list[bool] = []
    timing.exactly(lambda: seen.append(gc.isenabled()), 2)
    assert seen == [False, False] and gc.isenabled()

    def fails() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        timing.exactly(fails, 1)
    assert gc.isenabled()


@settings(max_examples=50)
@given(st.integers(1, 10**7), st.floats(0, 0.05), st.integers(1, 300))
def test_open_slices_have_one_run_and_end_in_time(call_ns: int, seconds: float, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ticks = Ticks(patch)
        times = timing.as_many_as_fit(ticks.call([call_ns]), seconds, most)
    assert 1 <= len(times) <= most and set(times) == {call_ns}
    assert sum(times) <= seconds * 1e9 + call_ns + 1
    # It stops early for the cap only.
    assert len(times) == most or sum(times) >= seconds * 1e9 - 1


def test_step_alternates_and_stops_between_rounds(ticks: Ticks) -> None:
    runs = {"a": ticks.call([10**8]), "b": ticks.call([2 * 10**8])}
    order = timing.slice_order(["a", "b"], 50, "abba", 0)
    whole = timing.Step(runs, 50, 2, 0.0, 1e9).execute(order)
    assert whole["order"] == order
    assert whole["times_ns"] == {"a": [[10**8] * 2] * 50, "b": [[2 * 10**8] * 2] * 50}
    # A round takes 0.6 s, so 1.5 s end it after the third.
    limited = timing.Step(runs, 50, 2, 0.0, 1.5).execute(order)
    assert limited["order"] == order[:6]
    assert {name: len(parts) for name, parts in limited["times_ns"].items()} == {"a": 3, "b": 3}
    # However short the limit, every session has a slice.
    assert timing.Step(runs, 50, 1, 0.0, 0.0).execute(order)["order"] == order[:2]


def test_profiled_sessions_do_not_outrun_their_profiler(ticks: Ticks) -> None:
    runs = {"plain": ticks.call([1000]), "profiled": ticks.call([1000])}
    order = timing.slice_order(list(runs), 10, "abba", 0)
    times = timing.Step(runs, 10, None, 1.0, 1e9, ["profiled"]).execute(order)["times_ns"]
    assert sum(map(len, times["profiled"])) == 5000
    assert sum(map(len, times["plain"])) == 10**6


def test_warming_lasts_for_runs_and_for_time(ticks: Ticks) -> None:
    slow, fast = ticks.call([10**9]), ticks.call([10**6])
    result = timing.warm({"slow": slow, "fast": fast}, min_n=3, min_s=0.05, max_s=60.0)
    assert result["runs"] == {"slow": 3, "fast": 50}
    limited = timing.warm({"slow": slow, "fast": fast}, min_n=100, min_s=0.0, max_s=4.5)
    assert limited["runs"]["slow"] == 5
