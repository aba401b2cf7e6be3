"""``--html`` of the commands that measure: the same page as ``lwprof report`` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def html_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--html FILE``, given to the command as ``html_path``."""
    return click.option("--html", "html_path", help="Write an HTML report to this file.")(command)


def write_html(data: Mapping[str, Any], path: str | None, **beside: Any) -> None:
    """Writes a result's page where one was asked for.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is None:
        return
    from lwprof.reporting import report

    report(data, path, **beside)


def open_file(path: Path) -> None:
    """Shows a file in the user's browser."""
    import webbrowser

    webbrowser.open(path.resolve().as_uri())
