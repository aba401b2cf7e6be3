"""What every page is made of, and how it becomes one self-contained HTML file.

A page is sections of figures (a number with its interval), notes, charts and tables. Nothing in
it is ever trusted: Jinja2 escapes every text, charts travel as JSON in a script element that no
browser runs, and a content security policy lets only our two scripts run, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Cell:
    """One number or text of a page.

    Attributes:
        text: for people.
        value: the number itself, SI units; None for a text.
        low, high: ends of its interval, as numbers; None where there is none.
        interval: the interval for people, "" where there is none.
    """

    text: str
    value: float | int | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the head of a section.

    Attributes:
        path: where it stands in the result's JSON ("models.0.latency_s"), "" where computed.
    """

    label: str
    cell: Cell
    path: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; ``key`` is the JSON field below the row's path, "" where computed."""

    title: str
    key: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A table's row.

    Attributes:
        path: where it stands in the result's JSON.
        mark: index of its glyph in the linked chart, None without one.
    """

    cells: tuple[Cell, ...]
    path: str = ""
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A sortable, filterable table.

    Attributes:
        chart: id of the chart whose bars its rows light up, "" for none.
        folded: shown only when asked for (the table behind a chart).
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    chart: str = ""
    folded: bool = False

    @property
    def base(self) -> str:
        """What the paths of all rows that have one begin with, up to a dot."""
        paths = [row.path for row in self.rows if row.path]
        return os.path.commonprefix(paths).rpartition(".")[0] if len(paths) > 1 else ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Bokeh figure and what a screen reader says in its place.

    Attributes:
        plot: the Bokeh model.
        table: id of the table with the same numbers.
    """

    id: str
    title: str
    description: str
    plot: Any
    table: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a heading."""

    id: str
    title: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Attributes:
        title: its heading; subtitle: where and how it was obtained.
        verdict: one or two words; tone: "good", "bad" or "unsure".
        flags: what disturbed it; next_step: what to do now.
    """

    title: str
    subtitle: str
    verdict: str
    tone: str
    summary: str
    next_step: str
    sections: tuple[Section, ...]
    flags: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def render(page: Page) -> str:
    """The page as one HTML document that needs no network.

    Bokeh's JavaScript is taken from its Python package and embedded once.
    """
    from markupsafe import Markup

    from lwprof import __version__

    charts = [chart for section in page.sections for chart in section.charts]
    scripts = (_part("page.js"), bokeh_script()) if charts else (_part("page.js"),)
    return str(
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            version=__version__,
            policy=_policy(scripts),
            scripts=[Markup(script) for script in scripts],  # ours and Bokeh's own files
            style=Markup(_part("page.css")),
            charts=Markup(_script_data([_item(chart) for chart in charts])),
        )
    )


@cache
def bokeh_script() -> str:
    """Bokeh's minified JavaScript, as its Python package ships it.

    Raises:
        LwprofError: the installed Bokeh cannot be embedded in a page.
    """
    import bokeh

    from lwprof.errors import LwprofError

    path = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    if "</script" in text.lower() or "<!--" in text:
        raise LwprofError(f"Bokeh {bokeh.__version__} cannot be embedded: install bokeh 3.9")
    return text


def _item(chart: Chart) -> dict[str, Any]:
    from bokeh.embed import json_item

    return {"id": chart.id, "item": json_item(chart.plot, target=f"plot-{chart.id}")}


def _script_data(data: Sequence[Any]) -> str:
    """JSON that may stand inside a script element whatever text it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # Bokeh writes its styles into the document as it draws; it evaluates no text as code.
    return (f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'")  # fmt: skip


@cache
def _part(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
