"""How a supernet's logits become weights of its paths.

    softmax   DARTS (arXiv 1806.09055): every path, weighed by its probability
    gumbel    FBNet (arXiv 1812.03443): every path, by a Gumbel-softmax draw of a temperature
    binary    ProxylessNAS (arXiv 1812.00332): two sampled paths, of which one is active; the
              gradient is ∂L/∂α_i = Σ_j ∂L/∂g_j p_j (δ_ij − p_i) over the two

Logits are (blocks, most choices) with −inf where a block has no such choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.errors import MissingExtra, UsageError

try:
    import torch
except ImportError:
    raise MissingExtra("differentiable search needs PyTorch: pip install 'lwprof[torch]'") from None

KINDS = ("softmax", "gumbel", "binary")


def empty_logits(choices: Sequence[int]) -> Any:
    """(blocks, most choices) of noughts, −inf where a block has no such choice."""
    logits = torch.zeros(len(choices), max(choices))
    for block, options in enumerate(choices):
        logits[block, options:] = -torch.inf
    return logits


def weights(logits: Any, kind: str, temperature: float = 1.0, generator: Any = None) -> Any:
    """(blocks, most choices): the weight of every path in this forward pass.

    Raises:
        UsageError: an unknown kind.
    """
    if kind == "softmax":
        return torch.softmax(logits, dim=-1)
    if kind == "gumbel":
        uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype)
        noise = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))
        return torch.softmax((logits + noise) / temperature, dim=-1)
    if kind == "binary":
        return binary(logits, generator)[0]
    raise UsageError(f"no relaxation is called {kind!r}; there are {', '.join(KINDS)}")


def binary(logits: Any, generator: Any = None) -> tuple[Any, Any]:
    """One-hot weights whose gradient goes to two sampled paths of every block, and which two."""
    probabilities = torch.softmax(logits.detach(), dim=-1)
    rows, drawn = [], torch.zeros(logits.shape, dtype=torch.bool)
    for i, (row, p) in enumerate(zip(logits, probabilities, strict=True)):
        usable = int((p > 0).sum())
        pair = torch.multinomial(p, min(2, usable), generator=generator)
        two = torch.softmax(row[pair], dim=-1)
        active = torch.multinomial(two.detach(), 1, generator=generator)
        gates = torch.zeros_like(two).scatter(0, active, 1.0)
        # The value is the gate, the derivative that of the two paths' softmax.
        gates = gates + two - two.detach()
        rows.append(torch.zeros_like(row).scatter(0, pair, gates))
        drawn[i, pair] = True
    return torch.stack(rows), drawn


def keep_untouched(before: Any, after: Any) -> Any:
    """Logits after a two-path step, shifted so that untouched paths keep their probability.

    Args:
        before, after: (blocks, most choices); paths whose logit did not change are untouched.
    """
    touched = torch.isfinite(before) & (before != after)
    shift = _log_mass(before, touched) - _log_mass(after, touched)
    return torch.where(touched, after + torch.where(touched.any(-1), shift, 0.0)[:, None], after)


def _log_mass(logits: Any, touched: Any) -> Any:
    return torch.logsumexp(torch.where(touched, logits, -torch.inf), dim=-1)
