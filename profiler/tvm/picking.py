"""Picking the plan of each function by measuring a handful of them.

What was picked is kept on disk by what the function computes, the processor, the
number of threads and the templates' version, so each convolution is searched once,
whichever model it appears in.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from lwprof.profiler.tvm.templates import TEMPLATES, Plan, Setting, Stage, Template, stages_of
from lwprof.profiler.tvm.toolchain import quietly

#: Part of every key on disk; raise it whenever a template makes other code.
TEMPLATE_VERSION = 1
#: Plans measured in the first round of a short search.
SHORT = 3
#: Plans measured side by side while tuning.
_BATCH = 6
_ROUNDS = 5
_ROUND_S = 0.015


@dataclass(frozen=True, slots=True)
class Picked:
    """The plan of a function.

    Attributes:
        plan: the fastest measured.
        latency_s: the shortest time measured for it, seconds.
        tried: number of plans measured.
        tuned: whether tuning measured beyond the short search.
        complete: whether tuning measured every plan.
    """

    plan: Plan
    latency_s: float
    tried: int
    tuned: bool
    complete: bool

    @property
    def label(self) -> str:
        """What results say of the kernel: ``template:…`` or ``tuned:…``."""
        return f"{'tuned' if self.tuned else 'template'}:{self.plan.label}"


class Store:
    """Picked plans on disk, one small file each.

    Args:
        folder: where they are; made when missing.
        context: processor, threads and versions, part of every key.
    """

    def __init__(self, folder: Path, context: str) -> None:
        self._folder = folder
        self._context = context

    def get(self, identity: str) -> Picked | None:
        """The plan picked for a computation; None when there is none, or it is damaged."""
        try:
            row = json.loads(self._path(identity).read_text(encoding="utf-8"))
            choices = {str(k): v for k, v in row["choices"].items() if isinstance(v, int | str)}
            plan = Plan(str(row["template"]), choices)
            return Picked(
                plan,
                float(row["latency_s"]),
                int(row["tried"]),
                bool(row["tuned"]),
                bool(row["complete"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, identity: str, picked: Picked) -> None:
        """Keep a plan, in place of an earlier one."""
        path = self._path(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        row = {
            "template": picked.plan.template,
            "choices": dict(picked.plan.choices),
            "latency_s": picked.latency_s,
            "tried": picked.tried,
            "tuned": picked.tuned,
            "complete": picked.complete,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(row), encoding="utf-8")
        partial.replace(path)

    def _path(self, identity: str) -> Path:
        key = hashlib.sha256(f"{self._context}|{identity}".encode()).hexdigest()
        return self._folder / f"{key}.json"


class Picker:
    """Measures plans of functions.

    Args:
        target: the ``tvm.target.Target``.
        setting: the vector unit and the threads.
        store: plans picked before; None to take plans unmeasured.
    """

    def __init__(self, target: Any, setting: Setting, store: Store | None) -> None:
        self._target = target
        self._setting = setting
        self._store = store

    def pick(self, function: Any) -> Picked | None:
        """The plan for a function, from the store or by a short search.

        Returns:
            None when no template fits: the function stays unscheduled.
        """
        stages = stages_of(function)
        if self._store is None:
            return self._first(function, stages)
        identity = identity_of(function)
        known = self._store.get(identity)
        if known is not None:
            return known
        for template in TEMPLATES:
            plans = template.plans(stages, self._setting)
            measured = self.measure(function, [(template, p) for p in plans[:SHORT]])
            if measured:
                best = min(measured, key=lambda m: m[1])[0]
                more = template.variants(best, stages, self._setting)
                measured += self.measure(function, [(template, p) for p in more])
                plan, seconds = min(measured, key=lambda m: m[1])
                picked = Picked(plan, seconds, len(measured), tuned=False, complete=False)
                self._store.put(identity, picked)
                return picked
        return None

    def _first(self, function: Any, stages: Sequence[Stage]) -> Picked | None:
        """The most promising plan that can be carried out."""
        for template in TEMPLATES:
            for plan in template.plans(stages, self._setting)[:SHORT]:
                if self._apply(template, function, plan) is not None:
                    return Picked(plan, 0.0, 0, tuned=False, complete=False)
        return None

    def tune(self, function: Any, known: Picked, enough: Callable[[], bool]) -> Picked:
        """Measure every plan of a function until there is no time left.

        Args:
            function: the unscheduled function.
            known: what the short search picked.
            enough: says when to stop; asked between batches.

        Returns:
            The best of all, marked as tuned.
        """
        stages = stages_of(function)
        template = next(t for t in TEMPLATES if t.name == known.plan.template)
        plans = template.plans(stages, self._setting)
        waiting = [p for p in plans if p != known.plan]
        around = False  # whether the variants of the best plan are among those waiting
        leader, seconds, tried = known.plan, known.latency_s, known.tried
        while not enough():
            if not waiting and not around:
                waiting, around = template.variants(leader, stages, self._setting), True
            if not waiting:
                break
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            # The leader runs again beside each batch: the machine may have changed.
            fresh = self.measure(function, [(template, p) for p in [leader, *batch]])
            if fresh:
                leader, seconds = min(fresh, key=lambda m: m[1])
            tried += len(batch)
        complete = around and not waiting
        picked = Picked(leader, seconds, tried, tuned=True, complete=complete)
        if self._store is not None:
            self._store.put(identity_of(function), picked)
        return picked

    def schedule(self, function: Any, picked: Picked) -> Any | None:
        """Carry out a plan; None when it does not fit after all."""
        template = next((t for t in TEMPLATES if t.name == picked.plan.template), None)
        return None if template is None else self._apply(template, function, picked.plan)

    def measure(
        self, function: Any, candidates: Sequence[tuple[Template, Plan]]
    ) -> list[tuple[Plan, float]]:
        """Time plans side by side: the shortest of a few interleaved rounds each.

        Args:
            function: the unscheduled function.
            candidates: templates and their plans; those that do not compile are left out.

        Returns:
            (plan, seconds per call) of those that ran.
        """
        import tvm

        scheduled = [(plan, self._apply(t, function, plan)) for t, plan in candidates]
        fitting = [(plan, made) for plan, made in scheduled if made is not None]
        if not fitting:
            return []
        names = {f"candidate{i}": made for i, (_, made) in enumerate(fitting)}
        module = tvm.IRModule({n: f.with_attr("global_symbol", n) for n, f in names.items()})
        with quietly():
            library = tvm.compile(module, self._target)
        arguments = random_arguments(function)
        calls = [library[name] for name in names]
        times = _race([functools.partial(call, *arguments) for call in calls])
        return [(plan, best) for (plan, _), best in zip(fitting, times, strict=True)]

    def _apply(self, template: Template, function: Any, plan: Plan) -> Any | None:
        try:
            return template.apply(function, plan, self._setting)
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError, StopIteration):
            return None  # the function is not what the template takes it for


def identity_of(function: Any) -> str:
    """Digest of what a function computes, free of names.

    What follows the summing stage hardly moves the best tile, so functions that
    differ only there share a plan.
    """
    import tvm_ffi
    from tvm.s_tir import Schedule

    stages = stages_of(function)
    schedule = Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    last = next((i for i, stage in enumerate(stages) if stage.reduced), len(blocks) - 1)
    hashes = [
        f"{tvm_ffi.structural_hash(schedule.get(block), map_free_vars=True):x}"
        for block in blocks[: last + 1]
    ]
    shapes = [(s.name if s.reduced else "", s.spatial, s.reduced) for s in stages[: last + 1]]
    after = stages[-1].spatial if last < len(blocks) - 1 else None
    return hashlib.sha256(f"{shapes}|{hashes}|{after}".encode()).hexdigest()


def random_arguments(function: Any) -> list[Any]:
    """Arguments for a function: standard normal numbers, small whole numbers."""
    import tvm

    random = numpy.random.default_rng(0)
    arguments = []
    for parameter in function.params:
        shape = [int(extent) for extent in parameter.ty.shape]
        dtype = str(parameter.ty.dtype)
        if dtype.startswith("float"):
            values = random.standard_normal(shape).astype(dtype)
        else:
            values = random.integers(0, 2, shape).astype(dtype)
        arguments.append(tvm.runtime.tensor(values))
    return arguments


def _race(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Shortest seconds per call of each, in interleaved rounds."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    for _ in range(_ROUNDS):
        for index, call in enumerate(calls):
            deadline = time.perf_counter() + _ROUND_S / len(calls)
            while True:
                start = time.perf_counter()
                call()
                end = time.perf_counter()
                best[index] = min(best[index], end - start)
                if end >= deadline:
                    break
    return best
