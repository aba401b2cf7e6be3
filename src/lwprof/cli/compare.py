"""``lwprof compare``: is B faster than A, slower, the same, or can it not be told?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.choices import DURATION, FRACTION, runtime_options, settings_from, store_option
from lwprof.cli.html import html_option, write_html
from lwprof.cli.output import check_writable, console, printable, progress_line, write_json
from lwprof.errors import UsageError
from lwprof.units import parse_fraction

if TYPE_CHECKING:
    from lwprof.profiler.session.compare import ComparisonResult

_EXIT = {"pass": 0, "fail": 3, "undecided": 4}
# Options of B that may differ from A's: the same model in two settings.
_B_OPTIONS = ("runtime", "provider", "threads", "precision", "batch")


@click.command(name="compare")
@click.argument("a")
@click.argument("b")
@click.option("--device", default="host", show_default=True, help="Device to measure on.")
@runtime_options
@click.option(
    "--b-option",
    "b_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of B that differs from A's, e.g. threads=2; repeatable.",
)
@click.option("--budget", "budget_s", type=DURATION, default=300.0, help="Device time to spend.")
@click.option(
    "--margin",
    type=FRACTION,
    default=0.03,
    show_default=True,
    help="Ratios this close to 1 count as the same.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="latency=5%",
    help="Exit 3 when B exceeds A by more, 4 when that cannot be told; repeatable.",
)
@store_option
@click.option("--fresh", is_flag=True, help="Do not resume an interrupted comparison.")
@click.option("--seed", type=int, help="Seed of the visiting order.")
@click.option("--json", "json_path", help="Write lwprof.comparison/1 to a file, or - for stdout.")
@html_option
def command(**options: Any) -> None:
    """Measure two models interleaved and say whether they differ.

    A and B are .onnx files, zoo names, or two result files of `lwprof measure --json`.

    Example: lwprof compare mobilenet_v2 mobilenet_v3_small --gate latency=5%
    """  # fmt: skip
    from lwprof import api
    from lwprof.profiler.session.options import Effort

    json_path = options.pop("json_path")
    html_path = options.pop("html_path")
    check_writable(json_path)
    check_writable(html_path)
    gates = dict(_gate(text) for text in options["gates"])
    settings = settings_from(options)
    with progress_line() as progress:
        result = api.run_comparison(
            options["a"],
            options["b"],
            device=options["device"],
            settings=settings,
            settings_b=_settings_b(settings, options["b_options"]),
            effort=Effort(budget_s=options["budget_s"], fresh=options["fresh"]),
            margin=options["margin"],
            gates=gates,
            store=options["store_url"],
            seed=options["seed"],
            progress=progress,
        )
    if json_path:
        write_json(result.to_json(), json_path)
    if html_path:
        write_html(result.to_json(), html_path, **_sides(options["a"], options["b"]))
    if json_path != "-":
        show(result)
    if result.gate is not None:
        raise SystemExit(_EXIT[result.gate])


def _sides(a: str, b: str) -> dict[str, str]:
    """Two saved results, whose kernels the report can compare; nothing for two models."""
    saved = a.endswith(".json") and b.endswith(".json")
    return {"a": a, "b": b} if saved else {}


def show(result: ComparisonResult) -> None:
    """Prints the verdict as a sentence, then the figures behind it."""
    out = console()
    a, b = printable(str(result.a["name"])), printable(str(result.b["name"]))
    ratio = result.ratio
    interval = f"{ratio.value:.3f} × ({ratio.low:.3f} to {ratio.high:.3f})"
    if result.verdict == "different":
        word = "slower" if ratio.value > 1 else "faster"
        out.print(f"different: {b} is {word} than {a}, {interval} its latency", style="bold")
    elif result.verdict == "same":
        out.print(f"same: {b} takes {interval} the latency of {a}", style="bold")
    else:
        out.print(f"unfit ({result.reason}): {b} takes {interval} the latency of {a}; that "
                  "decides nothing", style="bold")  # fmt: skip
    effect = result.minimum_detectable_effect
    smallest = "unknown" if effect is None else f"{effect:.1%}"
    out.print(f"  {result.pairs} pairs of fresh processes; smallest effect they would have "
              f"found: {smallest}")  # fmt: skip
    if result.flags:
        out.print(f"  flags: {', '.join(result.flags)}")
    for name, entry in result.gates.items():
        out.print(f"  gate {name} at most {entry['limit']:.3f} ×: {entry['outcome']}")
    if result.verdict == "unfit":
        out.print("  next: quieten the device (lwprof devices doctor) or give a larger --budget")


def _gate(text: str) -> tuple[str, float]:
    name, found, limit = text.partition("=")
    if not found or name not in ("latency", "energy"):
        raise UsageError(f"cannot read the gate {text!r}: write it like latency=5% or energy=10%")
    return name, parse_fraction(limit)


def _settings_b(settings: Any, texts: tuple[str, ...]) -> Any:
    from dataclasses import replace

    changes: dict[str, Any] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or name not in _B_OPTIONS:
            raise UsageError(
                f"cannot read --b-option {text!r}: write NAME=VALUE with NAME one of "
                f"{', '.join(_B_OPTIONS)}"
            )
        if name in ("threads", "batch"):
            if not value.isdecimal():
                raise UsageError(f"--b-option {name} needs a whole number, not {value!r}")
            changes[name] = int(value)
        else:
            changes[name] = value
    return replace(settings, **changes)
