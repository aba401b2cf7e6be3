"""What a template decides, and what it knows when deciding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lwprof.profiler.tvm.toolchain import VectorUnit


@dataclass(frozen=True, slots=True)
class Stage:
    """One loop nest of a function.

    Attributes:
        name: the block's name, which tells the templates what it computes.
        spatial: extents of the loops over the output.
        reduced: extents of the loops that are summed over.
    """

    name: str
    spatial: tuple[int, ...]
    reduced: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices of one schedule.

    Attributes:
        template: name of the template.
        choices: what it decided, by name.
    """

    template: str
    choices: Mapping[str, int | str]

    @property
    def label(self) -> str:
        """The plan in one word: ``conv2d_nchwc[4x1x7,oc]``."""
        tiles = "x".join(str(v) for v in self.choices.values() if isinstance(v, int))
        words = ",".join(v for v in self.choices.values() if isinstance(v, str))
        return f"{self.template}[{','.join(part for part in (tiles, words) if part)}]"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a schedule will run.

    Attributes:
        unit: the vector unit.
        threads: threads that share one kernel.
    """

    unit: VectorUnit
    threads: int


class Template(Protocol):
    """A way of scheduling one kind of function.

    A template offers plans and can carry each of them out; which one is best is
    measured, not its business.
    """

    name: str

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Plans that fit the function, the most promising first; [] when none does."""
        ...

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Other settings around a plan that measured well, for a second round."""
        ...

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Schedule a function.

        Args:
            function: an unscheduled ``PrimFunc``.
            plan: one of this template's plans.
            setting: where it will run.

        Returns:
            The scheduled ``PrimFunc``.
        """
        ...


def stages_of(function: Any) -> list[Stage]:
    """The loop nests of an unscheduled function; [] when they cannot be read.

    Args:
        function: a ``PrimFunc`` as fusion leaves it.
    """
    from tvm.s_tir import Schedule

    schedule = Schedule(function)
    stages = []
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        statement = schedule.get(block)
        spatial: list[int] = []
        reduced: list[int] = []
        for variable in statement.iter_vars:
            try:
                extent = int(variable.dom.extent)
            except (TypeError, ValueError):
                return []  # a shape that is only known at run time
            (spatial if int(variable.iter_type) == 0 else reduced).append(extent)
        stages.append(Stage(str(statement.name_hint), tuple(spatial), tuple(reduced)))
    return stages


def divisors(number: int, most: int) -> list[int]:
    """Divisors of a number up to ``most``, largest first."""
    return [d for d in range(min(number, most), 0, -1) if number % d == 0]
