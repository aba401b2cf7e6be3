"""``search_architectures``: the public function behind ``lwprof search``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lwprof.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from lwprof.predictors.space import Space
    from lwprof.profiler.session.runner import Progress
    from lwprof.search.constraints import Constraints, Costs, Limit
    from lwprof.search.problem import Problem, Trials
    from lwprof.search.result import SearchResult

SAVED_EVERY_S = 2.0
QUANTITIES = {"latency": "latency_s", "energy": "energy_j", "peak_memory": "peak_memory_bytes",
              "size": "size_bytes"}  # fmt: skip


def search_architectures(
    space: str | Space,
    device: str | Sequence[str] = "host",
    *,
    limits: Mapping[str, float],
    probability: float | Mapping[str, float | None] | None = None,
    merit: str | Callable[[list[str]], Any] | None = None,
    strategy: str = "evolution",
    evaluations: int = 2000,
    verify: int = 0,
    tables: Sequence[str] = (),
    resume: str | None = None,
    seed: int = 0,
    store: str | None = None,
    measure: Callable[[Any], dict[str, Any]] | None = None,
    progress: Progress = lambda *_: None,
    **choice: Any,
) -> SearchResult:
    """Finds architectures of high merit that meet limits on a device.

    Args:
        space: a name, a ``.csv`` table, ``script.py:Class``, or a space.
        device: whose cost model answers; several must all meet the limits.
        limits: SI values by ``latency``, ``energy``, ``peak_memory``, ``size``; ``latency@pi4``
            holds for one device of several.
        probability: with which limits must hold, by the cost model's intervals, for all or by
            their names; None compares predictions themselves.
        merit: a function from architectures to numbers, or as ``--merit`` of the command.
        strategy: one of ``lwprof.search.strategies.names()``.
        evaluations: distinct architectures whose merit may be asked for.
        verify: finalists to measure on the (first) device.
        tables: block tables (``BlockTable.save``), one per device, in place of cost models.
        resume: a file that keeps the search's state; an interrupted search goes on from it.
        measure: ONNX model → estimate (``value``, ``low``, ``high``), in place of measuring.
        choice: of the context: runtime, provider, threads, precision, power_mode, unknown.

    Returns:
        The best architecture, the front, what was verified; where nothing meets the limits,
        ``best`` is None and ``reachable`` says the least that each limit could be.

    Raises:
        UsageError: an unknown space, strategy or quantity, or a merit that cannot be had.
        CostMiss: the cost model does not know a kernel of the space.
    """
    import numpy as np

    from lwprof.search import state
    from lwprof.search.strategies import run
    from lwprof.search.strategies import strategy as known

    known(strategy)  # before costs, which may take minutes
    rng, found = np.random.default_rng(seed), _space(space)
    devices = (device,) if isinstance(device, str) else tuple(device)
    chances = dict(probability) if isinstance(probability, Mapping) else probability
    held = _limits(limits, chances)
    worth, is_accuracy, additive = _merit(merit, found)
    costs = _costs(found, devices, held, tables, store, choice, rng, progress)
    problem = _problem(found, worth, held, costs, additive)
    belongs = {"space": found.name, "limits": dict(limits), "probability": chances,
               "devices": list(devices), "merit": merit if isinstance(merit, str) else None}  # fmt: skip
    earlier = state.load(resume, found, belongs) if resume else None
    clock = [time.monotonic()]

    def report(spent: int, whole: int, best: float) -> None:
        progress(
            f"best so far {best:.4g}" if best > -1e300 else "nothing feasible yet", spent, whole
        )

    def kept(trials: Callable[[], Trials]) -> None:
        if resume and time.monotonic() - clock[0] > SAVED_EVERY_S:
            state.save(resume, trials(), belongs)
            clock[0] = time.monotonic()

    trials = run(problem, strategy, evaluations, rng, report, earlier, kept)
    if resume:
        state.save(resume, trials, belongs)
    return _result(problem, trials, devices, strategy, is_accuracy, verify,
                   measure or _measuring(devices[0], store, choice), rng)  # fmt: skip


def _space(space: Any) -> Any:
    from lwprof.search.spaces import space as named

    return named(space) if isinstance(space, str) else space


def _limits(
    limits: Mapping[str, float], chances: Mapping[str, float | None] | float | None
) -> list[Limit]:
    from lwprof.search.constraints import Limit

    found = []
    for name, value in limits.items():
        quantity, _, device = name.partition("@")
        if quantity not in QUANTITIES:
            raise UsageError(f"limits are on {', '.join(QUANTITIES)}, not on {quantity!r}")
        chance = chances.get(name) if isinstance(chances, Mapping) else chances
        found.append(Limit(QUANTITIES[quantity], float(value), chance, device or None))
    if not found:
        raise UsageError("a search needs a limit, such as --latency 30ms")
    return found


def _merit(merit: Any, space: Any) -> tuple[Callable[[Any], Any], bool, Any]:
    """The merit of codes, whether it is an accuracy, and its sums by block if it has them."""
    from lwprof.search.merits import merit_of

    if callable(merit):
        return (lambda codes: merit(space.decode(codes))), True, None
    worth, is_accuracy = merit_of(merit, space)
    additive = getattr(space, "additive_merit", None) if merit is None else None
    return worth, is_accuracy, additive


def _costs(space: Any, devices: tuple[str, ...], limits: list[Limit], tables: Sequence[str],
           store: str | None, choice: Mapping[str, Any], rng: np.random.Generator,
           progress: Progress) -> list[Costs]:  # fmt: skip
    from lwprof.predictors.block_table import BlockTable
    from lwprof.search.constraints import Priced
    from lwprof.search.pricing import COUNTED, Counted, priced

    if tables and len(tables) != len(devices):
        raise UsageError(f"{len(devices)} devices need as many tables, not {len(tables)}")
    found: list[Any] = []
    timed = any(limit.quantity not in COUNTED for limit in limits)
    own = getattr(space, "table", None)
    for number, device in enumerate(devices if timed else ()):
        if tables:
            found.append(Priced(BlockTable.load(tables[number]), device))
        elif own is not None:
            found.append(Priced(own, device))
        else:
            from lwprof.api import cost_model

            cost = cost_model(device, store=store, **choice)
            found.append(priced(cost, space, device, rng, progress))
    counted = any(limit.quantity in COUNTED for limit in limits)
    if counted and not any(set(COUNTED) & set(c.quantities) for c in found):
        found.append(Counted(space))
    return found


def _problem(space: Any, worth: Any, limits: list[Limit], costs: list[Costs],
             additive: Any) -> Problem:  # fmt: skip
    from lwprof.search.constraints import Constraints
    from lwprof.search.problem import Problem

    constraints: Constraints = Constraints(limits, costs)
    return Problem(space, worth, constraints, additive)


def _measuring(device: str, store: str | None, choice: Mapping[str, Any]) -> Any:
    names = ("runtime", "provider", "threads", "precision")
    settings = {name: choice[name] for name in names if choice.get(name) is not None}

    def run(model: Any) -> dict[str, Any]:
        from lwprof.api import measure

        result = measure([model], device, store=store, kernels=False, **settings)
        run.environment = result.context["environment"]  # type: ignore[attr-defined]
        estimate: dict[str, Any] = result.models[0].latency_s.to_json()
        return estimate

    return run


def _result(problem: Problem, trials: Trials, devices: tuple[str, ...], strategy: str,
            is_accuracy: bool, verify: int, measure: Any, rng: Any) -> SearchResult:  # fmt: skip
    from lwprof.search.constraints import environment_of
    from lwprof.search.result import SearchResult, front_of, points, thinned
    from lwprof.search.verify import verify as verified_by

    constraints = problem.constraints
    first = constraints.names.index(_named(constraints)) if len(trials.codes) else 0
    cost = constraints.cost(trials.codes)[:, first] if len(trials.codes) else trials.merits
    best_row = trials.best()
    best = points(problem, trials, [best_row])[0] if best_row is not None else None
    checked: list[Any] = []
    timed = [limit for limit in constraints.limits if limit.quantity == "latency_s"]
    if verify and timed and best is not None:
        best, checked = verified_by(problem, trials, timed[0], measure, verify)
    reach = constraints.reach(problem.space, rng) if best_row is None else []
    return SearchResult(
        problem.space.name, devices, strategy, constraints.limits, best,
        tuple(points(problem, trials, thinned(front_of(trials, cost)))), len(trials.codes),
        tuple(checked), tuple(reach), is_accuracy,
        tuple(getattr(problem.space, "blocks", ())) or tuple(
            f"block{i}" for i in range(len(problem.space.choices))),
        environment_of(constraints.costs, getattr(measure, "environment", None)),
    )  # fmt: skip


def _named(constraints: Constraints) -> str:
    """The name of the first limit's cost among the columns of ``cost``."""
    limit, costs, _ = constraints.terms[0]
    several = len(constraints.costs) > 1
    return f"{limit.quantity}@{costs.device}" if several else limit.quantity
