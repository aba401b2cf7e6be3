"""Asking about PyTorch modules without writing files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

from lwprof.errors import MissingExtra, ModelError

OPSET = 17


def from_torch(module: Any, example_inputs: Any, opset: int = OPSET) -> Any:
    """The network that a PyTorch module runs at inference, as an ``onnx.ModelProto``.

    The module is traced on the examples in evaluation mode (dropout off, batch normalisation by
    its running figures) and left in the mode in which it came. Branches that depend on values
    follow the examples.

    Args:
        module: a ``torch.nn.Module``.
        example_inputs: a tensor, a tuple of tensors, or a mapping of keyword arguments; their
            shapes become the model's.
        opset: of the model.

    Raises:
        MissingExtra: PyTorch is not installed.
        ModelError: PyTorch cannot export the module; its reason is given in one line.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("from_torch needs PyTorch: pip install 'lwprof[torch]'") from None
    import onnx

    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"from_torch takes a torch.nn.Module, not {type(module).__name__}")
    buffer = io.BytesIO()
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter warns of its own successor, which needs one more package.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, _arguments(example_inputs), buffer, dynamo=False, opset_version=opset,
                kwargs=dict(example_inputs) if isinstance(example_inputs, Mapping) else None,
            )  # fmt: skip
    # Tracing runs the user's own code, which may fail in any way.
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"PyTorch cannot export {type(module).__name__}: "
            f"{reason[0] if reason else type(error).__name__}: check that the module runs on the "
            "example inputs"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training
    return onnx.load_from_string(buffer.getvalue())


def _arguments(examples: Any) -> tuple[Any, ...]:
    if isinstance(examples, Mapping):
        return ()
    return tuple(examples) if isinstance(examples, tuple | list) else (examples,)
