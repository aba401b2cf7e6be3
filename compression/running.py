"""Running a model on this host for its numbers, not for its speed: outputs, responses, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lwprof.agents.program import inputs as device_inputs
from lwprof.errors import ModelError
from lwprof.profiler.graph import Graph, input_specs, read

Feed = Mapping[str, Any]
# Threads of the sessions below: an error needs no speed, and the host may be measuring.
_THREADS = 1


def random_feeds(graph: Graph, count: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """Seeded data that fits the inputs, as the profiler uses it.

    Raises:
        ModelError: an input is of a type that only a device can be given.
    """
    feeds = [device_inputs.build(input_specs(graph, seed + i)) for i in range(count)]
    for feed in feeds:
        for name, value in feed.items():
            if not isinstance(value, np.ndarray):
                raise ModelError(f"{graph.name}: input {name} is no plain tensor; give its data")
    return feeds


class Running:
    """A model loaded on this host's CPU.

    Args:
        model: an ``onnx.ModelProto``, with its weights inside.
        also: names of further values to return beside the outputs.

    Raises:
        ModelError: the runtime refuses the model.
    """

    def __init__(self, model: Any, also: Sequence[str] = ()) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = _THREADS
        options.log_severity_level = 4
        data = with_outputs(model, also) if also else model
        try:
            self._session = onnxruntime.InferenceSession(
                data.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"the runtime refuses the model: {text}") from error
        self.names = [value.name for value in self._session.get_outputs()]

    def __call__(self, feed: Feed) -> dict[str, Any]:
        """Every output by name."""
        return dict(zip(self.names, self._session.run(None, dict(feed)), strict=True))


def with_outputs(model: Any, names: Iterable[str]) -> Any:
    """A copy of a model that also returns the named values."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)
                             if name not in present)  # fmt: skip
    return copy


def outputs(model: Any, feeds: Iterable[Feed]) -> list[list[Any]]:
    """Outputs of a model for each feed, in the order of its outputs."""
    running = Running(model)
    return [list(running(feed).values()) for feed in feeds]


def relative_error(reference: Sequence[Sequence[Any]], found: Sequence[Sequence[Any]]) -> float:
    """‖found − reference‖₂ / ‖reference‖₂ over all numbers of all outputs and feeds.

    Raises:
        ModelError: the two differ in number or shape of outputs.
    """
    difference = power = 0.0
    for left, right in zip(reference, found, strict=True):
        for a, b in zip(left, right, strict=True):
            if a.shape != b.shape:
                raise ModelError(f"outputs of shapes {a.shape} and {b.shape} cannot be compared")
            x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
            difference += float(np.square(x - y).sum())
            power += float(np.square(x).sum())
    return float(np.sqrt(difference / power)) if power else float(np.sqrt(difference))


def output_error(original: Any, changed: Any, feeds: Sequence[Feed] | None = None) -> float:
    """Relative error of a changed model's outputs, on given or seeded random data.

    Args:
        original, changed: ``onnx.ModelProto`` objects with the same inputs and outputs.
        feeds: batches; None draws two.
    """
    data = random_feeds(read(original)) if feeds is None else feeds
    return relative_error(outputs(original, data), outputs(changed, data))
