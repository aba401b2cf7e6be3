"""Layers factorised by what they answer, not by their weights (survey C23).

Zhang et al. (arXiv 1411.4229, 1505.06798) choose filters so that the responses *after* the
activation come nearest: min Σᵢ ‖r(yᵢ) − r(M yᵢ + b)‖² with rank M ≤ d, where y are responses
of the layer on calibration data. Relaxed with auxiliary responses z and a penalty λ that
grows, both halves have closed forms: reduced-rank regression for M, b, and for z the better
of two parabolas per number. The chain is d filters of the layer's kernel, then 1×1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.factorisation.choosing import Method, choose
from lwprof.compression.factorisation.matrices import FILTERS_METHOD, filter_chain
from lwprof.compression.factorisation.stages import Factors, Layer, Stage, write
from lwprof.compression.layers import ConvLayer, DenseLayer, conv_layers, dense_layers
from lwprof.compression.running import Running
from lwprof.compression.transform import Draft, Given, Transform

# Responses looked at: more add time, not accuracy.
_SAMPLES = 4000
# Zhang et al.: λ grows while the relaxation tightens. Each value has its own rounds.
_PENALTIES = (0.01, 0.1, 1.0)
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class _Observed:
    """Responses of one layer, (samples, out), before the activation; ``rectified``: a ReLU follows."""

    responses: Any
    rectified: bool


def reduced_rank(z: Any, y: Any, rank: int) -> tuple[Any, Any, Any]:
    """The best z ≈ (y − ȳ) Qᵀ Pᵀ + z̄ with ``rank`` columns in P and Q: P, Q, z̄ − M ȳ.

    Least squares projected on the leading directions of its own fit (reduced-rank
    regression); for z = y these are principal components.

    Args:
        z, y: (samples, out).

    Returns:
        P (out, rank), Q (rank, out), offset (out,).
    """
    means = z.mean(axis=0), y.mean(axis=0)
    zc, yc = z - means[0], y - means[1]
    gram = yc.T @ yc
    ridge = 1e-9 * np.trace(gram) / len(gram) + 1e-30
    full = np.linalg.solve(gram + ridge * np.eye(len(gram)), yc.T @ zc)  # z ≈ y · full
    fitted = full.T @ gram @ full
    directions = np.linalg.eigh(fitted)[1][:, ::-1][:, :rank]
    p, q = directions, directions.T @ full.T
    return p, q, means[0] - p @ (q @ means[1])


def fit_responses(y: Any, rank: int, *, rectified: bool) -> tuple[Any, Any, Any, float]:
    """P, Q, offset as in ``reduced_rank``, and the relative error after the activation."""
    best = reduced_rank(y, y, rank)
    target = np.maximum(y, 0) if rectified else y
    error = _response_error(y, target, best, rectified)
    if not rectified:
        return *best, error
    current = best
    for penalty in _PENALTIES:
        for _ in range(_ROUNDS):
            z = _auxiliary(target, _apply(y, current), penalty)
            current = reduced_rank(z, y, rank)
            found = _response_error(y, target, current, rectified)
            if found < error:
                best, error = current, found
    return *best, error


def _apply(y: Any, factors: tuple[Any, Any, Any]) -> Any:
    p, q, offset = factors
    return (y @ q.T) @ p.T + offset


def _auxiliary(target: Any, linear: Any, penalty: float) -> Any:
    """argmin over z of (target − max(z, 0))² + λ (z − linear)², number by number."""
    negative = np.minimum(linear, 0)
    positive = np.maximum((penalty * linear + target) / (penalty + 1), 0)
    costs = [np.square(target - np.maximum(z, 0)) + penalty * np.square(z - linear)
             for z in (negative, positive)]  # fmt: skip
    return np.where(costs[0] <= costs[1], negative, positive)


def _response_error(y: Any, target: Any, factors: Any, rectified: bool) -> float:
    found = _apply(y, factors)
    found = np.maximum(found, 0) if rectified else found
    norm = float(np.linalg.norm(target))
    return float(np.linalg.norm(target - found)) / norm if norm else 0.0


def _factorise(draft: Draft) -> None:
    layers: list[Layer] = [*conv_layers(draft.rewriting), *dense_layers(draft.rewriting)]
    if not draft.given.data:
        draft.refused[""] = "it needs calibration data"
        return
    fitting = []
    for layer in layers:
        reason = _unfit(layer)
        if reason is None:
            fitting.append(layer)
        else:
            draft.refused[layer.node.name] = reason
    seen = _observe(draft, fitting)
    for layer in fitting:
        chosen = choose(_method(seen), layer, draft.given)
        if isinstance(chosen, str):
            draft.refused[layer.node.name] = chosen
            continue
        write(draft.rewriting, layer, chosen)
        draft.note_error(chosen.error)
        draft.changed.append(layer.node.name)
    if draft.changed:
        draft.notes.append("errors are of responses after the activation, on calibration data")


def _unfit(layer: Layer) -> str | None:
    if isinstance(layer, ConvLayer) and layer.groups != 1:
        return "a grouped convolution"
    if isinstance(layer, DenseLayer) and layer.rows == 1 and len(layer.out_shape) > 2:
        return "one response per inference says too little"
    return None


def _observe(draft: Draft, layers: list[Layer]) -> dict[str, _Observed]:
    """Responses of every layer on the calibration data, sampled where there are many."""
    rewriting, random = draft.rewriting, np.random.default_rng(draft.given.seed)
    running = Running(rewriting.graph.proto, [layer.result for layer in layers])
    parts: dict[str, list[Any]] = {layer.result: [] for layer in layers}
    for feed in draft.given.data:
        found = running(feed)
        for layer in layers:
            rows = _rows(found[layer.result], isinstance(layer, ConvLayer))
            most = max(1, _SAMPLES // len(draft.given.data))
            if len(rows) > most:
                rows = rows[random.choice(len(rows), most, replace=False)]
            parts[layer.result].append(np.asarray(rows, np.float64))
    return {
        layer.node.name: _Observed(
            np.concatenate(parts[layer.result]),
            any(n.op_type == "Relu" for n in rewriting.consumers(layer.result)),
        )
        for layer in layers
    }


def _rows(values: Any, image: bool) -> Any:
    return (
        np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])
        if image
        else values.reshape(-1, values.shape[-1])
    )


def _method(seen: Mapping[str, _Observed]) -> Method:
    def sizes(layer: Layer) -> list[int]:
        # More directions than responses cannot be told apart.
        most = len(seen[layer.node.name].responses) - 1
        return [size for size in FILTERS_METHOD.sizes(layer) if size <= most]

    def factors(layer: Layer, rank: int, given: Given) -> Factors:
        observed = seen[layer.node.name]
        p, q, offset, error = fit_responses(observed.responses, rank, rectified=observed.rectified)
        # y = W x + b, so P Q y + offset = P (Q W) x + (P Q b + offset).
        bias = p @ (q @ np.asarray(layer.bias, np.float64)) + offset
        right = q @ np.asarray(layer.weight, np.float64).reshape(len(layer.weight), -1)
        if isinstance(layer, ConvLayer):
            return Factors(filter_chain(layer, p, right), error, bias, "responses")
        return Factors((Stage(right), Stage(p)), error, bias, "responses")

    return Method(_unfit, sizes, FILTERS_METHOD.macs, factors)


RESPONSE_AWARE = Transform(
    "response_aware", "Low-rank filters fitted to responses after the activation", "C23",
    "approximate", "full Conv, Gemm and MatMul, with calibration data", _factorise,
)  # fmt: skip
