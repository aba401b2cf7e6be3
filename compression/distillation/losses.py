"""Losses by which a small network learns from a large one, and one that makes networks sparse.

All take and give torch tensors, and are differentiable in the student's. Teachers' values are
detached by the caller where they must not learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from lwprof.errors import MissingExtra

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtra("distillation needs PyTorch: pip install 'lwprof[torch]'") from error


def hinton(student: Any, teacher: Any, labels: Any = None, temperature: float = 4.0,
           alpha: float = 0.9) -> Any:  # fmt: skip
    """Soft targets (Hinton et al. 2015): α T² KL(teacher_T ‖ student_T) + (1 − α) CE(labels).

    T² keeps the gradients' size when T changes. Without labels only the first term, unscaled
    by α.

    Args:
        student, teacher: (n, classes) scores before the softmax.
        labels: (n,) classes.
    """
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.log_softmax(teacher / temperature, 1), reduction="batchmean", log_target=True,
    )  # fmt: skip
    soft = soft * temperature**2
    if labels is None:
        return soft
    return alpha * soft + (1 - alpha) * functional.cross_entropy(student, labels)


def flow(first: Any, second: Any) -> Any:
    """The FSP matrix between two feature maps of equal size: (n, c1, h, w), (n, c2, h, w) → (n, c1, c2).

    G_ij = Σ_hw F1_ihw F2_jhw / (h w) (Yim et al. 2017). The larger map is pooled to the smaller.
    """
    size = tuple(min(a, b) for a, b in zip(first.shape[2:], second.shape[2:], strict=True))
    pooled = [x if tuple(x.shape[2:]) == size else functional.adaptive_max_pool2d(x, size)
              for x in (first, second)]  # fmt: skip
    flat = [x.flatten(2) for x in pooled]
    return flat[0] @ flat[1].transpose(1, 2) / (size[0] * size[1])


def fsp(student: Sequence[tuple[Any, Any]], teacher: Sequence[tuple[Any, Any]]) -> Any:
    """Mean squared difference of FSP matrices over pairs of layers (Yim et al. 2017)."""
    parts = [(flow(*s) - flow(*t)).square().sum((1, 2)).mean()
             for s, t in zip(student, teacher, strict=True)]  # fmt: skip
    return torch.stack(parts).mean()


def dark_rank(student: Any, teacher: Any, alpha: float = 3.0, beta: float = 3.0,
              hard: bool = True) -> Any:  # fmt: skip
    """Cross-sample similarities (Chen et al. 2018): the student ranks samples as the teacher does.

    Scores are S = −α ‖q − x‖^β to the query, the first row; a permutation π of the others has
    the Plackett–Luce probability ∏_i exp(S_π(i)) / Σ_k≥i exp(S_π(k)).

    Args:
        student, teacher: (n, features) embeddings; widths may differ.
        hard: −log P_student of the teacher's own order; else the KL divergence over all
            permutations (n ≤ 6: their number is (n − 1)!).
    """
    mine, theirs = (_similarities(x, alpha, beta) for x in (student, teacher))
    if hard:
        return -_plackett_luce(mine[torch.argsort(theirs, descending=True)])
    orders = [list(order) for order in permutations(range(len(mine)))]
    logs = torch.stack([_plackett_luce(mine[order]) for order in orders])
    targets = torch.stack([_plackett_luce(theirs[order]) for order in orders])
    return (targets.exp() * (targets - logs)).sum()


def sobolev(student: Any, teacher: Any, inputs: Any, directions: int = 1,
            generator: Any = None) -> Any:  # fmt: skip
    """Values and derivatives (Czarnecki et al. 2017), the latter along random directions.

    Mean squared difference of outputs, plus that of the gradients with respect to the inputs of
    the outputs projected on random unit vectors.

    Args:
        student, teacher: functions of ``inputs`` → (n, k); called here.
        inputs: (n, …).
    """
    x = inputs.detach().requires_grad_(True)
    mine, theirs = student(x), teacher(x)
    loss = functional.mse_loss(mine, theirs.detach())
    for _ in range(directions):
        v = functional.normalize(torch.randn(mine.shape, generator=generator), dim=1)
        slope = torch.autograd.grad((mine * v).sum(), x, create_graph=True)[0]
        target = torch.autograd.grad((theirs * v).sum(), x, retain_graph=True)[0]
        loss = loss + (slope - target.detach()).square().flatten(1).sum(1).mean() / directions
    return loss


def rocket(light: Any, booster: Any, labels: Any, weight: float = 0.03) -> Any:
    """Rocket launching (Zhou et al. 2018): both nets learn together, the light one from hints.

    CE(light) + CE(booster) + λ mean (z_light − z_booster)², scores before the softmax; the hint
    does not push the booster (gradient block).
    """
    hint = (light - booster.detach()).square().mean()
    return (functional.cross_entropy(light, labels) + functional.cross_entropy(booster, labels)
            + weight * hint)  # fmt: skip


def group_lasso(weights: Sequence[Any]) -> Any:
    """Structured sparsity learning (Wen et al. 2016): Σ ‖filter‖ + Σ ‖channel‖ over layers.

    Args:
        weights: (out, in, …) each.
    """
    filters = [torch.sqrt(w.flatten(1).square().sum(1) + 1e-12).sum() for w in weights]
    read = [torch.sqrt(w.transpose(0, 1).flatten(1).square().sum(1) + 1e-12).sum()
            for w in weights]  # fmt: skip
    return torch.stack([*filters, *read]).sum()


def _similarities(rows: Any, alpha: float, beta: float) -> Any:
    distances = torch.sqrt((rows[1:] - rows[:1]).square().sum(1) + 1e-12)
    return -alpha * distances**beta


def _plackett_luce(scores: Any) -> Any:
    """log P of the order in which the scores stand."""
    tails = torch.flip(torch.logcumsumexp(torch.flip(scores, [0]), 0), [0])
    return (scores - tails).sum()
