"""What every runtime offers to the worker, so that timing and blocks know none of them.

A runtime's module has ``load(path, options, feeds) -> session``. A session has the
members of ``RuntimeSession``; it need not derive from it.
"""

from __future__ import annotations

import importlib
from typing import Any, Callable, Dict, List

from .failures import Failure

RUNTIMES = {"onnxruntime": "ort_runtime", "tvm": "tvm_runtime"}


class RuntimeSession:
    """A loaded model.

    Attributes:
        providers: what may execute its nodes, in order of preference.
        run: one inference on feeds that were made once. This is the timed call, so it
            is kept free of any work of our own.
    """

    providers: List[str]
    run: Callable[[], Any]

    def first(self) -> List[Any]:
        """One inference, and its outputs."""
        self.run()
        return self.outputs()

    def outputs(self) -> List[Any]:
        """Outputs of the latest inference, in the model's order."""
        raise NotImplementedError

    def profile_end(self) -> Dict[str, Any]:
        """Ends profiling: ``nodes``, and ``durations_ns`` and ``run_ns`` with one entry
        for each inference since the session was loaded, in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees the model."""


def load(path: str, options: Dict[str, Any], feeds: Dict[str, Any]) -> Any:
    """A session of the runtime that ``options`` name.

    Raises:
        Failure: the runtime is missing, or refuses the model or the provider.
    """
    return _guarded(lambda: _module(options).load(path, options, feeds))


def first(session: Any) -> List[Any]:
    """The first inference of a session and its outputs.

    Raises:
        Failure: the model does not run.
    """
    own = getattr(session, "first", None)
    if own is not None:
        return list(_guarded(own))
    _guarded(session.run)
    return list(session.outputs())


def import_runtime(options: Dict[str, Any]) -> None:
    """Imports the runtime ahead of loading, where its module can.

    Raises:
        Failure: the runtime is missing.
    """
    own = getattr(_module(options), "import_runtime", None)
    if own is not None:
        _guarded(lambda: own(options))


def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Failure:
        raise
    except MemoryError:
        raise Failure("memory", "the device has too little memory for this model") from None
    except Exception as error:
        kind = getattr(error, "kind", None)
        if kind is None:
            raise
        raise Failure(str(kind), str(error)) from None


def _module(options: Dict[str, Any]) -> Any:
    runtime = str(options.get("runtime", "onnxruntime"))
    if runtime not in RUNTIMES:
        raise Failure(
            "request",
            "unknown runtime %r; this agent knows %s" % (runtime, ", ".join(sorted(RUNTIMES))),
            side="host",
        )
    return importlib.import_module("." + RUNTIMES[runtime], __package__)
