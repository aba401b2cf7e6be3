"""Options that several commands share, and the types that parse their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lwprof.errors import UsageError
from lwprof.units import parse_duration, parse_fraction


class _Unit(click.ParamType[Any]):
    """A quantity with a unit; errors come from the one parser."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        return self._parse(value) if isinstance(value, str) else float(value)


DURATION = _Unit("duration", parse_duration)
FRACTION = _Unit("fraction", parse_fraction)


class InputShape(click.ParamType[Any]):
    name = "NAME=DIMS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, tuple[int, ...]]:
        name, _, text = str(value).rpartition("=")
        try:
            dims = tuple(int(part) for part in text.split(","))
        except ValueError:
            dims = ()
        if not name or not dims or min(dims) < 0:
            raise UsageError(
                f"cannot read the input shape {value!r}: write it like data=1,3,224,224"
            )
        return name, dims


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a model is run: the options that ``Settings`` is made of."""
    for option in reversed((
        click.option("--runtime", default="onnxruntime", show_default=True,
                     help="onnxruntime or tvm."),
        click.option("--provider", default="CPU", show_default=True,
                     help="Execution provider, e.g. CUDA or TensorRT on a Jetson."),
        click.option("--threads", type=int, help="Threads (default: cores of the fastest cluster)."),
        click.option("--precision", help="float32, float16 or int8 (default: as in the file)."),
        click.option("--batch", type=int, help="Batch size (default: as in the file)."),
        click.option("--input-shape", "input_shapes", type=InputShape(), multiple=True,
                     help="Shape of an input that the file leaves open; repeatable."),
        click.option("--allow-fallback", is_flag=True,
                     help="Measure although operators fall back to the CPU provider."),
        click.option("--tune", "tune_s", type=DURATION, default=0.0,
                     help="TVM: tune schedules for this long first, e.g. 5m."),
    )):  # fmt: skip
        command = option(command)
    return command


def context_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which of a device's contexts is meant."""
    for option in reversed((
        click.option("--runtime", help="Choose the context by runtime."),
        click.option("--provider", help="Choose the context by execution provider."),
        click.option("--threads", type=int, help="Choose the context by threads."),
        click.option("--precision", help="Choose the context by precision."),
        click.option("--power-mode", help="Choose the context by power mode."),
    )):  # fmt: skip
        command = option(command)
    return command


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where measurements are kept."""
    return click.option("--store", "store_url", help="Database file or URL (default: your own).")(
        command
    )


def settings_from(options: dict[str, Any]) -> Any:
    """Takes the runtime's options out of ``options`` and makes ``Settings`` of them."""
    from lwprof.profiler.session.options import Settings

    names = ("runtime", "provider", "threads", "precision", "batch", "allow_fallback", "tune_s")
    taken = {name: options.pop(name) for name in names}
    return Settings(input_shapes=dict(options.pop("input_shapes")), **taken)
