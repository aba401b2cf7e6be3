"""``audit``: the public function behind ``lwprof audit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwprof.compression.audit.result import AuditResult
    from lwprof.profiler.session.runner import Progress

WORK = 0.5
"""Share of a layer's work that factorisations are given where no error bound was."""


def audit(
    model: Any,
    device: str = "host",
    *,
    runtime: str = "onnxruntime",
    provider: str = "CPU",
    threads: int | None = None,
    batch: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    transforms: Sequence[str] | None = None,
    predict_only: bool = False,
    latency_s: float | None = None,
    substitutes: bool = False,
    error: float | None = None,
    max_error: float = 0.1,
    calibration: Sequence[Mapping[str, Any]] = (),
    budget_s: float = 180.0,
    store: str | None = None,
    fresh: bool = False,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> AuditResult:
    """Applies every lightweight transform that fits a model and says which pays on a device.

    Args:
        model: an ``.onnx`` path, a ``ModelProto``, bytes or a zoo name.
        transforms: ids; None tries all.
        predict_only: touch no device; the cost model alone answers.
        latency_s: also propose the cheapest chain of transforms that meets this limit.
        substitutes: let that chain use structures that must be trained first.
        error: bound on each layer's relative error when it is factorised; None: each
            factorised layer gets half its work, whatever error that costs.
        max_error: relative error of the outputs beyond which nothing is recommended, however
            fast.
        calibration: batches, input name → array; without them ranges and output errors are
            from random data, and response-aware factorisation is refused.
        budget_s: device seconds for measuring.
        store: database path or URL; None is the user's own.
        fresh: do not resume an interrupted audit.
        seed: of random data, of starting points and of the visiting order.

    Returns:
        A line per transform: counted, predicted and measured costs, output error, verdict.

    Raises:
        ModelError: the model cannot be read or the runtime refuses it.
        UsageError: an unknown transform; or ``predict_only`` where nothing was measured yet.
        DeviceUnknown: no such device.
        RunError: the device failed.
    """
    from lwprof.compression.audit import registry
    from lwprof.compression.audit.run import Wanted
    from lwprof.compression.audit.run import audit as run_audit
    from lwprof.compression.transform import Given
    from lwprof.profiler.session.options import Settings
    from lwprof.profiler.session.prepare import read_model

    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    settings = Settings(runtime=runtime, provider=provider, threads=threads, batch=batch,
                        input_shapes=shapes)  # fmt: skip
    given = Given(data=tuple(calibration), error=0.1 if error is None else error,
                  work=WORK if error is None else None, seed=seed)  # fmt: skip
    wanted = Wanted(
        registry.transforms(transforms), given, latency_s=latency_s, substitutes=substitutes,
        max_error=max_error, budget_s=budget_s, fresh=fresh, seed=seed,
    )  # fmt: skip
    return run_audit(
        read_model(model, settings), device, settings, wanted, store=store,
        predict_only=predict_only, progress=progress,
    )  # fmt: skip
