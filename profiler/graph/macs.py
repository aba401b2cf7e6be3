"""Multiply-accumulates of one operator, in closed form.

Conventions:

- One MAC is one multiplication whose product is added to a running sum against a weight
  or another operand: convolutions, matrix products, recurrent gates, attention.
- Elementwise arithmetic, normalisation, pooling, interpolation, activation, comparison,
  quantisation and data movement count 0, as in most papers. A bias adds nothing.
- What has no closed form here counts as unknown (None), never as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from lwprof.profiler.graph.site import Site, Uncountable


def _conv(site: Site) -> int:
    # x (n, c, *in), w (m, c/g, *k) -> y (n, m, *out)
    return prod(site.output()) * prod(site.input(1)[1:])


def _qlinear_conv(site: Site) -> int:
    # x, x_scale, x_zero, w (m, c/g, *k), …
    return prod(site.output()) * prod(site.input(3)[1:])


def _conv_transpose(site: Site) -> int:
    # every input element meets every weight of its channel: x (n, c, *in), w (c, m/g, *k)
    return prod(site.input(0)) * prod(site.input(1)[1:])


def _gemm(site: Site) -> int:
    a, y = site.input(0), site.output()
    return prod(y) * (a[0] if site.attributes.get("transA", 0) else a[1])


def _matmul(site: Site) -> int:
    # a (…, m, k) or (k,), b (…, k, n) or (k,); batches broadcast into y
    return prod(site.output()) * site.input(0)[-1]


FORMULAS: Mapping[tuple[str, str], Callable[[Site], int | None]] = {
    ("", "Conv"): _conv,
    ("", "ConvInteger"): _conv,
    ("", "QLinearConv"): _qlinear_conv,
    ("", "DeformConv"): _conv,
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearMatMul"): _matmul,
}


def macs(site: Site) -> int | None:
    """MACs of one operator; None when they cannot be counted."""
    formula = FORMULAS.get((site.domain, site.type))
    if formula is None:
        return 0
    try:
        return formula(site)
    except (Uncountable, IndexError):
        return None
