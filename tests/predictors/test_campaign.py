"""The campaign takes first what a fit knows least about, and learns more per second for it."""

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lwprof import zoo
from lwprof.cli.measure import command
from lwprof.predictors import KernelRegressor
from lwprof.predictors.campaign import BATCH, Teaching, candidates, gain
from lwprof.predictors.kernel_features import facts
from lwprof.predictors.visits import Occurrence, pooled, speeds, weighted_median
from lwprof.profiler.kernels import workload


def dense(cin: int, cout: int, side: int, kernel: int = 3) -> Any:
    return workload(
        ["Conv", "Relu"], inputs=[(1, cin, side, side), (cout, cin, kernel, kernel)],
        attributes=[{"pads": [kernel // 2] * 4}, {}],
    )  # fmt: skip


def strange(channels: int) -> Any:
    return workload(["LRN"], inputs=[(1, channels, 28, 28)], attributes=[{"size": 5}])


def seconds(one: Any) -> float:
    known = facts(one)
    slow = 40.0 if known.kind == "LRN" else 1.0
    return float(5e-6 + slow * (known.macs / 2e10 + known.bytes_moved / 8e9))


def network(seed: int, n: int = 12) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [dense(*(int(8 * c) for c in rng.integers(1, 17, 2)), int(rng.integers(7, 57)))
            for _ in range(n)]  # fmt: skip


def test_what_is_unknown_and_takes_time_is_measured_first() -> None:
    networks = {f"usual{n}": network(n) for n in range(20)} | {
        "odd": [*network(99, 4), *(strange(8 * c) for c in range(4, 12))]
    }
    known = {w.key: (w, seconds(w)) for n in range(100, 106) for w in network(n)}
    chosen = Teaching(list(networks), networks.__getitem__, random_state=3).next(known)
    assert chosen[0] == "odd" and len(chosen) == BATCH
    model = KernelRegressor().fit(*zip(*known.values(), strict=True))
    assert gain(model, networks["odd"], set(known)) > 2 * gain(
        model, networks["usual1"], set(known)
    )
    everything = {w.key for kernels in networks.values() for w in kernels}
    assert gain(model, networks["odd"], everything) == 0.0, "what is measured teaches no more"


def test_every_candidate_has_its_turn_once() -> None:
    networks = {f"n{n}": network(n, 3) for n in range(15)}
    teaching = Teaching(list(networks), networks.__getitem__)
    known: dict[str, Any] = {}
    seen: list[str] = []
    while batch := teaching.next(known):
        seen += batch
        known |= {w.key: (w, seconds(w)) for name in batch for w in networks[name]}
    assert sorted(seen) == sorted(networks)


def test_candidates_can_be_built_and_are_not_large() -> None:
    names = candidates()
    assert "mobilenet_v2" in names and "sampled_0" in names and "vgg16" not in names
    assert all(zoo.is_sampled(n) or n in zoo.list() for n in names)


def test_a_slow_visit_is_found_and_taken_out() -> None:
    rng = np.random.default_rng(0)
    truth = {f"net{n}": network(n, 25) for n in range(14)}
    planted = {name: float(s) for name, s in zip(truth, rng.normal(0, 0.12, 14), strict=True)}
    planted["net3"] = 0.31  # the host's slow state
    workloads = {w.key: w for kernels in truth.values() for w in kernels}
    occurrences = [
        Occurrence(name, w.key, seconds(w) * float(np.exp(planted[name] + rng.normal(0, 0.03))))
        for name, kernels in truth.items() for w in kernels
    ]  # fmt: skip
    found = speeds(occurrences, workloads)
    expected = np.array([planted[n] for n in truth]) - np.median(list(planted.values()))
    off = np.array([found[n] for n in truth]) - expected
    assert np.abs(off - np.median(off)).max() < 0.08
    raw, freed = pooled(occurrences, {}), pooled(occurrences, found)
    error = [
        np.std([np.log(table[key] / seconds(w)) for key, w in workloads.items()])
        for table in (raw, freed)
    ]
    assert error[1] < 0.5 * error[0]


def test_weighted_median_by_hand() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])) == 2.0
    assert weighted_median(np.array([0.0, 1.0]), np.array([1.0, 1000.0])) == pytest.approx(
        1.0, abs=2e-3
    )


def test_a_candidate_that_does_not_exist_is_named(tmp_path: Any) -> None:
    done = CliRunner().invoke(
        command, ["--device", "host", "--budget", "1s", "--workloads-of", "no_such_network",
                  "--store", str(tmp_path / "s.db")],
    )  # fmt: skip
    assert done.exit_code != 0 and "no_such_network" in str(done.exception)
