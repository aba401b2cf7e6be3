"""Writing results: JSON to a file or standard output, tables for people, progress for terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwprof.errors import UsageError
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from rich.console import Console

    from lwprof.profiler.session.runner import Progress
    from lwprof.profiler.statistics import Estimate


def console() -> Console:
    """Standard output for people; names from files are never read as markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(markup=False, emoji=False, highlight=False, width=width)


def write_json(data: Any, where: str) -> None:
    """Writes JSON to a path, or to standard output for ``-``.

    Raises:
        UsageError: the file cannot be written.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if where == "-":
        click.echo(text, nl=False)
        return
    check_writable(where)
    Path(where).write_text(text, encoding="utf-8")


def check_writable(where: str | None) -> None:
    """Refuses a path that cannot be written before a long run starts.

    Raises:
        UsageError: its folder is missing, or it is a folder itself.
    """
    if where in (None, "-"):
        return
    path = Path(str(where))
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"cannot write {where}: give a file in a folder that exists")


def printable(text: str, limit: int = 48) -> str:
    """A name from a file or device made safe for a terminal, shortened in the middle."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    if len(clean) <= limit:
        return clean
    half = (limit - 1) // 2
    return f"{clean[:half]}…{clean[-half:]}"


def with_interval(estimate: Estimate | None, unit: str) -> str:
    """``12.3 ms ±1.2 %``, or ``≤ 4.0 µs`` below the resolution, or ``unknown``."""
    if estimate is None:
        return "unknown"
    figure = format_quantity(estimate.value, unit)
    if estimate.at_most:
        return f"≤ {figure}"
    width = estimate.relative_half_width
    return f"{figure} ±{100 * width:.2g} %" if width < 1 else f"{figure} ±?"


@contextmanager
def progress_lines() -> Iterator[Callable[[str], Progress]]:
    """Progress bars on standard error while it is a terminal; silence otherwise.

    Gives a function that adds a line, under a name where there are several, and returns what
    reports to it.
    """
    if not sys.stderr.isatty():
        yield lambda _: lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True, markup=False),
        transient=True,
    )

    def line(name: str) -> Callable[[str, float, float], None]:
        title = f"{name}: " if name else ""
        task = bar.add_task(f"{title}starting", total=None)

        def report(text: str, spent_s: float, expected_s: float) -> None:
            described = title + printable(text)
            bar.update(task, description=described, completed=spent_s, total=expected_s)

        return report

    with bar:
        yield line


@contextmanager
def progress_line() -> Iterator[Progress]:
    """One progress bar; see ``progress_lines``."""
    with progress_lines() as lines:
        yield lines("")
