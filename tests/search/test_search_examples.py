"""Every example runs; a shared Optuna study loses no trial when two workers are killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(name: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


def test_pymoo_finds_a_front_within_the_limit() -> None:
    pytest.importorskip("pymoo")
    match = re.search(r"best merit ([\d.]+) at ([\d.]+) ms", said(start("search_with_pymoo.py")))
    assert match is not None and float(match[2]) <= 11.0 and float(match[1]) > 72


def test_optuna_respects_constraints() -> None:
    pytest.importorskip("optuna")
    assert re.match(r"40 trials, 0 recovered, best [67]\d", said(start("search_with_optuna.py")))


def test_the_nni_profiler_and_the_ofa_predictor_answer() -> None:
    match = re.match(r"([\d.]+) ms; loss 2.0 becomes ([\d.]+)",
                     said(start("search_with_nni_profiler.py")))  # fmt: skip
    assert match is not None
    expected = 2 + 0.5 * max(float(match[1]) / 11 - 1, 0)
    assert float(match[2]) == pytest.approx(expected, abs=1e-3)
    assert said(start("search_with_ofa_predictor.py")) == "51.0 ms, 5.0 ms\n"


def test_no_trial_is_lost_when_two_workers_are_killed(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from lwprof.search.adapters.optuna import CODE, excess_of, recover

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="fbnet", storage=storage, direction="maximize")
    workers = [start("search_with_optuna.py", storage, 1000, 0.05) for _ in range(2)]
    try:
        study = optuna.load_study(study_name="fbnet", storage=storage)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if len(study.get_trials(deepcopy=False)) >= 8:
                break
            time.sleep(0.05)
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.communicate()
    states = optuna.trial.TrialState
    before = study.get_trials()
    running = [t for t in before if t.state == states.RUNNING]
    complete = {t.number: t.user_attrs[CODE] for t in before if t.state == states.COMPLETE}
    assert len(before) >= 8 and len(complete) >= 4
    assert recover(study) == len(running)
    wanted = len(complete) + len([t for t in running if t.params]) + 2
    assert said(start("search_with_optuna.py", storage, wanted)).startswith(f"{wanted} trials")
    after = study.get_trials()
    assert all(after[number].user_attrs[CODE] == code for number, code in complete.items())
    repeated = {t.user_attrs.get("lwprof:retry_of") for t in after if t.state == states.COMPLETE}
    assert {t.number for t in running if t.params} <= repeated
    assert not [t for t in after if t.state == states.RUNNING]
    assert all(len(excess_of(t)) == 1 for t in after if t.state == states.COMPLETE)
