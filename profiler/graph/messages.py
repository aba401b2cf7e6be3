"""Other people's error texts, cut down to one readable line."""

from __future__ import annotations

import onnx

# What onnx's C++ raises about a model: its own classes, which derive from Exception only,
# and what pybind makes of C++ exceptions. Faults of ours (AttributeError, KeyError …) are
# not among them and stay visible.
ONNX_ERRORS: tuple[type[Exception], ...] = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
)

_LIMIT = 300


def one_line(error: BaseException | str) -> str:
    """The text of ``error`` on one line, control characters replaced, at most 300 characters."""
    text = error if isinstance(error, str) else (str(error) or type(error).__name__)
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"


def quoted(name: str) -> str:
    """A name out of a model file, safe and short enough to print in a message."""
    return repr(name if len(name) <= 80 else name[:79] + "…")
