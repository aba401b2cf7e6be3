"""ONNX Runtime: sessions that do what was asked, or say in one line why they cannot.

ONNX Runtime falls back to the CPU without a word when a provider is absent or takes
no node, so the providers are checked before and the nodes' placement after loading.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from typing import Any, Dict, List, Optional

from . import checks, ort_profile
from .failures import Failure
from .inputs import Patterns
from .ort_import import SUFFIX, import_onnxruntime, short_name

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
_NOT_IN_NUMPY = frozenset(
    "tensor(%s)" % name
    for name in ("bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
                 "float8e8m0", "float4e2m1", "int4", "uint4", "int2", "uint2")
)  # fmt: skip
# Above this size weights go beside the optimised graph: protobuf ends at 2 GiB.
_EXTERNAL_ABOVE = 1500 * 1024 * 1024


def import_runtime(options: Dict[str, Any]) -> None:
    """Imports what ``load`` needs, so that memory and time of loading are the model's own."""
    import_onnxruntime()


class OrtSession:
    """A loaded ONNX model.

    Attributes:
        providers: the session's providers, short names.
        run: the timed call: ``InferenceSession.run(output_names, feeds)``.
        assignment: nodes by provider, where the runtime tells; else empty.
    """

    def __init__(self, session: Any, feeds: Dict[str, Any], options: Dict[str, Any]) -> None:
        self._session: Optional[Any] = session
        self._profiling = bool(options.get("profile"))
        self.providers = [short_name(name) for name in session.get_providers()]
        self.output_names = [output.name for output in session.get_outputs()]
        self.assignment = _assignment(session)
        self.run = _call(session, feeds)

    def first(self) -> List[Any]:
        """One inference and its outputs; also the proof that the model runs at all."""
        try:
            return list(self.run())
        except Exception as error:  # noqa: BLE001 - a runtime can raise anything
            raise _refusal(error, "run") from None

    def outputs(self) -> List[Any]:
        """Outputs of one more inference."""
        return self.first()

    def profile_end(self) -> Dict[str, Any]:
        """The profile of every inference so far; its file is removed."""
        if self._session is None or not self._profiling:
            raise Failure("request", "this session is not profiled", side="host")
        self._profiling = False
        path = self._session.end_profiling()
        try:
            return ort_profile.read(path)
        finally:
            _remove(path)

    def close(self) -> None:
        """Frees the model, and removes a profile that nobody asked for."""
        session, self._session = self._session, None
        self.run = functools.partial(_closed)
        if session is not None and self._profiling:
            _remove(session.end_profiling())


def load(path: str, options: Dict[str, Any], feeds: Dict[str, Any]) -> OrtSession:
    """A session of the model in the file ``path``.

    Args:
        options: see ``session_options``; ``provider`` (default CPU), ``allow_fallback``
            (default false).
        feeds: from ``inputs.build``.

    Raises:
        Failure: kinds ``model``, ``provider``, ``runtime_missing``, ``memory``.
    """
    ort = import_onnxruntime()
    session = create(ort, path, options)
    loaded = OrtSession(session, feeds_for(ort, feeds), options)
    check_assignment(loaded.assignment, options)
    return loaded


def create(ort: Any, path: str, options: Dict[str, Any], optimised: Optional[str] = None) -> Any:
    """An ``InferenceSession``; ``optimised`` is where to save the graph it will execute."""
    provider = _provider(ort, options)
    chosen = [provider] if provider.startswith("CPU") else [provider, "CPU" + SUFFIX]
    settings = session_options(ort, options)
    if optimised is not None:
        settings.optimized_model_filepath = optimised
        if os.path.getsize(path) > _EXTERNAL_ABOVE:
            settings.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name",
                os.path.basename(optimised) + ".data",
            )
    disabled = checks.items(options.get("disabled_optimizers") or [], "disabled_optimizers")
    try:
        session = ort.InferenceSession(
            path, settings, providers=chosen, disabled_optimizers=disabled or None
        )
    except Exception as error:  # noqa: BLE001 - a runtime can raise anything
        raise _refusal(error, "load", path) from None
    session.disable_fallback()
    got = list(session.get_providers())
    if provider not in got and not options.get("allow_fallback"):
        raise Failure(
            "provider",
            "ONNX Runtime did not start the execution provider %s and fell back to %s"
            % (short_name(provider), ", ".join(map(short_name, got))),
        )
    return session


def session_options(ort: Any, options: Dict[str, Any]) -> Any:
    """``SessionOptions`` from ours.

    Args:
        options: ``threads`` (default 1), ``optimisation``, ``spinning`` (default true,
            as ONNX Runtime's own), ``profile``, ``config`` (session configuration
            entries, text to text).
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = checks.integer(options.get("threads", 1), "threads", 1, 4096)
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors
    level = checks.choice(options.get("optimisation", "all"), "optimisation", tuple(_LEVELS))
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    spinning = checks.flag(options.get("spinning", True), "spinning")
    entries = {"session.intra_op.allow_spinning": "1" if spinning else "0"}
    if short_name(str(options.get("provider", "CPU"))) != "CPU":
        entries["session.record_ep_graph_assignment_info"] = "1"
    for name, text in checks.mapping(options.get("config") or {}, "config").items():
        entries[checks.text(name, "config name")] = checks.text(text, "config value")
    for name, text in entries.items():
        settings.add_session_config_entry(name, text)
    if options.get("profile"):
        settings.enable_profiling = True
        settings.profile_file_prefix = os.path.join(tempfile.gettempdir(), "profile")
    return settings


def check_assignment(assignment: Dict[str, List[str]], options: Dict[str, Any]) -> None:
    """Refuses nodes that another provider than the one asked for will run.

    Raises:
        Failure: kind ``provider``; it names the nodes.
    """
    wanted = short_name(str(options.get("provider", "CPU")))
    strays = [
        "%s on %s" % (node, provider)
        for provider, nodes in sorted(assignment.items())
        if provider != wanted
        for node in nodes
    ]
    if strays and not options.get("allow_fallback"):
        total = sum(len(nodes) for nodes in assignment.values())
        shown = ", ".join(strays[:5]) + (" \u2026" if len(strays) > 5 else "")
        raise Failure(
            "provider",
            "%s does not run %d of %d nodes (%s): allow the fallback, or choose another provider"
            % (wanted, len(strays), total, shown),
        )


def _call(session: Any, feeds: Dict[str, Any]) -> Any:
    """One inference, the timed call: ``InferenceSession.run`` wherever it can be used.

    numpy lacks bfloat16, float8 and the 4-bit types, so ``run`` fails on such outputs after
    having computed them; they are left inside the runtime.
    """
    names = [output.name for output in session.get_outputs()]
    left_inside = any(output.type in _NOT_IN_NUMPY for output in session.get_outputs())
    ort = import_onnxruntime()
    # The runtime makes no value of its own from text: such a model fails as it would anyhow.
    if not left_inside or any(getattr(v, "dtype", None) == object for v in feeds.values()):
        return functools.partial(session.run, names, feeds)
    values = {
        name: value if isinstance(value, ort.OrtValue) else ort.OrtValue.ortvalue_from_numpy(value)
        for name, value in feeds.items()
    }
    return functools.partial(session.run_with_ort_values, names, values)


def _provider(ort: Any, options: Dict[str, Any]) -> str:
    wanted = checks.text(options.get("provider", "CPU"), "provider", 128)
    full = short_name(wanted) + SUFFIX
    available = list(ort.get_available_providers())
    for name in available:
        if name.lower() == full.lower():
            return str(name)
    raise Failure(
        "provider",
        "onnxruntime %s on the device has no execution provider %s; it has %s"
        % (ort.__version__, short_name(wanted), ", ".join(map(short_name, available))),
    )


def _assignment(session: Any) -> Dict[str, List[str]]:
    try:
        groups = session.get_provider_graph_assignment_info()
    except Exception:  # noqa: BLE001 - older runtimes lack it; it must have been asked for
        return {}
    found: Dict[str, List[str]] = {}
    for group in groups:
        names = ["%s %s" % (node.op_type, node.name) for node in group.get_nodes()]
        found.setdefault(short_name(group.ep_name), []).extend(name.strip() for name in names)
    return found


def feeds_for(ort: Any, feeds: Dict[str, Any]) -> Dict[str, Any]:
    """``feeds`` as ``InferenceSession.run`` takes them, made once."""
    return {name: _feed(ort, value) for name, value in feeds.items()}


def _feed(ort: Any, value: Any) -> Any:
    if not isinstance(value, Patterns):
        return value
    try:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value.array, value.onnx_type)
    except Exception as error:  # noqa: BLE001 - a runtime can raise anything
        raise Failure(
            "model",
            "the device's onnxruntime %s cannot take an input of ONNX type %d: %s"
            % (ort.__version__, value.onnx_type, error),
        ) from None


def _refusal(error: Exception, verb: str, path: str = "") -> Failure:
    text = _PREFIX.sub("", str(error))
    if path:  # where the device keeps the file tells the user nothing
        text = text.replace(path, "the file")
    if isinstance(error, MemoryError) or "bad_alloc" in text or "Failed to allocate" in text:
        return Failure("memory", "the device has too little memory to %s this model" % verb)
    return Failure("model", "ONNX Runtime cannot %s this model: %s" % (verb, text))


def _closed() -> None:
    raise Failure("request", "this session is closed", side="host")


def _remove(path: Any) -> None:
    with contextlib.suppress(OSError):
        os.remove(str(path))
