"""Multiply-accumulates of one operator, in closed form.

Conventions:

- One MAC is one multiplication whose product is added to a running sum: convolutions,
  matrix products, contractions, recurrent gates, attention. A bias adds nothing.
- Elementwise arithmetic, normalisation, pooling, interpolation, activation, quantisation,
  comparison and data movement count 0, as in most papers (``zero_macs``).
- What is in neither list is unknown (None), never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from lwprof.profiler.graph.einsum import einsum_macs
from lwprof.profiler.graph.site import Site, Uncountable
from lwprof.profiler.graph.zero_macs import counts_zero

_Formula = Callable[[Site], int]


def _conv(site: Site) -> int:
    # x (n, c, *in), w (m, c/g, *k) -> y (n, m, *out)
    return prod(site.output()) * prod(site.input(1)[1:])


def _conv_nhwc(site: Site) -> int:
    # x (n, *in, c), w (m, *k, c/g) -> y (n, *out, m); QLinearConv's places
    return prod(site.output()) * prod(site.input(3)[1:])


def _conv_transpose(site: Site) -> int:
    # every input element meets every weight of its channel: x (n, c, *in), w (c, m/g, *k)
    return prod(site.input(0)) * prod(site.input(1)[1:])


def _gemm(a_place: int) -> _Formula:
    def formula(site: Site) -> int:
        # a (m, k), or (k, m) when transposed; y (m, n)
        a = site.input(a_place)
        return prod(site.output()) * (a[0] if site.attributes.get("transA", 0) else a[1])

    return formula


def _matmul(site: Site) -> int:
    # a (…, m, k) or (k,), b (…, k, n) or (k,); batches broadcast into y (…, m, n)
    return prod(site.output()) * site.input(0)[-1]


def _fused_matmul(site: Site) -> int:
    # transA swaps the last two extents of a, so k comes before m
    k = site.input(0)[-2 if site.attributes.get("transA", 0) else -1]
    return prod(site.output()) * k


def _matmul_nbits(site: Site) -> int:
    # a (…, m, k), weights packed; K and N are attributes
    return prod(site.input(0)) * int(site.attributes["N"])


def _recurrent(gates: int) -> _Formula:
    def formula(site: Site) -> int:
        # x (seq, batch, in) or, with layout 1, (batch, seq, in); r (dirs, gates·h, h)
        length, batch, features = site.input(0)
        directions, rows, hidden = site.input(2)
        if rows != gates * hidden:
            raise Uncountable
        return directions * length * batch * rows * (features + hidden)

    return formula


def _attention(site: Site) -> int:
    # q·kᵀ and p·v for every query head; the whole rectangle, masked or not
    q, k, v = site.input(0), site.input(1), site.input(2)
    if len(q) == 4:
        batch, heads, length, head = q
        total, value_head = k[2], v[3]
    else:
        heads = int(site.attributes["q_num_heads"])
        key_heads = int(site.attributes["kv_num_heads"])
        batch, length, head = q[0], q[1], q[2] // heads
        total, value_head = k[1], v[2] // key_heads
    if site.has_input(4):
        total += site.input(4)[2]  # past_key (batch, kv heads, past, head)
    return batch * heads * length * total * (head + value_head)


def _linear_attention(site: Site) -> int:
    # per token: kvᵀ into the state of each key head, qᵀS for each query head; the delta
    # rules also read Sᵀk. q (b, t, hq·dk), v (b, t, hk·dv)
    batch, length, width = site.input(0)
    heads, key_heads = (int(site.attributes[n]) for n in ("q_num_heads", "kv_num_heads"))
    state = width // heads * (site.input(2)[2] // key_heads)
    rule = site.attributes.get("update_rule", "gated_delta")
    reads = key_heads if str(rule).endswith("delta") else 0
    return batch * length * state * (key_heads + heads + reads)


def _affine_grid(site: Site) -> int:
    # theta (n, d, d+1) times every homogeneous grid point; grid (n, *out, d)
    return prod(site.output()) * site.input(0)[2]


def _linear_model(site: Site) -> int:
    # ai.onnx.ml: x (n, features), coefficients (targets · features)
    x = site.input(0)
    return (x[0] if len(x) > 1 else 1) * len(site.attributes["coefficients"])


_ML, _MS, _PREVIEW = "ai.onnx.ml", "com.microsoft", "ai.onnx.preview"
_FORMULAS: Mapping[tuple[str, str], _Formula] = {
    ("", "Conv"): _conv, ("", "ConvInteger"): _conv, ("", "DeformConv"): _conv,
    ("", "CausalConvWithState"): _conv, (_MS, "FusedConv"): _conv,
    ("", "QLinearConv"): _conv_nhwc, (_MS, "QLinearConv"): _conv_nhwc,
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Gemm"): _gemm(0), (_MS, "QGemm"): _gemm(0), (_MS, "FusedGemm"): _gemm(0),
    ("", "MatMul"): _matmul, ("", "MatMulInteger"): _matmul, ("", "QLinearMatMul"): _matmul,
    (_MS, "DynamicQuantizeMatMul"): _matmul, (_MS, "MatMulIntegerToFloat"): _matmul,
    (_MS, "FusedMatMul"): _fused_matmul, (_MS, "TransposeMatMul"): _fused_matmul,
    (_MS, "MatMulNBits"): _matmul_nbits, (_MS, "MatMulBnb4"): _matmul_nbits,
    ("", "Einsum"): einsum_macs,
    ("", "RNN"): _recurrent(1), ("", "GRU"): _recurrent(3), ("", "LSTM"): _recurrent(4),
    ("", "Attention"): _attention, (_PREVIEW, "FlexAttention"): _attention,
    ("", "LinearAttention"): _linear_attention, ("", "AffineGrid"): _affine_grid,
    (_ML, "LinearClassifier"): _linear_model, (_ML, "LinearRegressor"): _linear_model,
}  # fmt: skip


def macs(site: Site) -> int | None:
    """MACs of one operator without bodies; None when they cannot be counted."""
    formula = _FORMULAS.get((site.domain, site.type))
    if formula is None:
        return 0 if counts_zero(site.domain, site.type) else None
    try:
        return formula(site)
    except (Uncountable, LookupError, ArithmeticError, TypeError, ValueError):
        return None  # an extent is open, or the node is not what its type promises
