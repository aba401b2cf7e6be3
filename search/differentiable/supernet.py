"""A supernet: blocks that hold all their choices, and the two optimisers that train it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.errors import MissingExtra, UsageError
from lwprof.search.differentiable.losses import LatencyLoss
from lwprof.search.differentiable.relaxed import binary, empty_logits, keep_untouched, weights

try:
    import torch
except ImportError:
    raise MissingExtra("differentiable search needs PyTorch: pip install 'lwprof[torch]'") from None

METHODS = {"darts": "softmax", "fbnet": "gumbel", "proxylessnas": "binary"}
COOLING = 0.956
"""FBNet's temperature is 5 · 0.956^epoch."""
HOTTEST = 5.0


class MixedBlock(torch.nn.Module):  # type: ignore[misc]
    """All choices of one block; paths of weight nought are not computed."""

    def __init__(self, paths: Sequence[Any]) -> None:
        super().__init__()
        self.paths = torch.nn.ModuleList(paths)

    def forward(self, x: Any, weight: Any, drawn: Any = None) -> Any:
        """Σ weight[i] · path_i(x) for (choices,) weights.

        Args:
            drawn: (choices,) bool, paths to compute although their weight is nought: a
                binarised path that is off has a gradient only where it is computed.
        """
        live = weight.detach() != 0
        if drawn is not None:
            live = live | drawn
        return sum(weight[i] * self.paths[i](x) for i in torch.nonzero(live)[:, 0].tolist())


class Supernet(torch.nn.Module):  # type: ignore[misc]
    """Stem, mixed blocks, head.

    Attributes:
        logits: (blocks, most choices), the architecture's parameters; −inf: no such choice.
    """

    def __init__(self, stem: Any, blocks: Sequence[Sequence[Any]], head: Any) -> None:
        super().__init__()
        self.stem, self.head = stem, head
        self.blocks = torch.nn.ModuleList(MixedBlock(paths) for paths in blocks)
        self.logits = torch.nn.Parameter(empty_logits([len(paths) for paths in blocks]))

    def forward(self, x: Any, weight: Any, drawn: Any = None) -> Any:
        """Answers for (blocks, most choices) weights; ``drawn`` as in the blocks."""
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x, weight[i], None if drawn is None else drawn[i])
        return self.head(x)

    def one_hot(self, code: Any) -> Any:
        """Weights of a single architecture: how a sub-network is evaluated with shared weights."""
        rows = torch.zeros_like(self.logits)
        rows[torch.arange(len(rows)), torch.as_tensor(list(code))] = 1.0
        return rows

    def single_path(self) -> Any:
        """Weights of a uniformly drawn architecture: one-shot training (arXiv 1904.00420)."""
        uniform = torch.where(torch.isfinite(self.logits), 1.0, 0.0)
        return self.one_hot(torch.multinomial(uniform, 1)[:, 0])

    def network_parameters(self) -> list[Any]:
        """All but the logits."""
        return [p for name, p in self.named_parameters() if name != "logits"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of a training: epochs of weights alone, epochs of both, and learning rates."""

    warm_up: int = 5
    epochs: int = 20
    rate: float = 2e-3
    logit_rate: float = 5e-2


Batches = Callable[[], Iterable[tuple[Any, Any]]]


def train(supernet: Supernet, batches: Batches, held_out: Batches, price: LatencyLoss,
          method: str = "fbnet", schedule: Schedule | None = None,
          progress: Callable[[int, int, float], None] = lambda *_: None) -> Any:  # fmt: skip
    """Trains weights on one half of the data and logits on the other, in turns.

    Args:
        batches, held_out: called for each epoch, give (inputs, labels).
        price: joins the cross-entropy with the expected cost.
        method: ``darts``, ``fbnet`` or ``proxylessnas``.
        progress: called with epoch, all epochs and the expected cost.

    Returns:
        The logits.

    Raises:
        UsageError: an unknown method.
    """
    if method not in METHODS:
        raise UsageError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    plan, kind = schedule or Schedule(), METHODS[method]
    weigh = torch.optim.Adam(supernet.network_parameters(), lr=plan.rate)
    choose = torch.optim.Adam([supernet.logits], lr=plan.logit_rate, betas=(0.0, 0.999))
    whole = plan.warm_up + plan.epochs
    for epoch in range(whole):
        heat = HOTTEST * COOLING ** max(0, epoch - plan.warm_up)
        supernet.train()
        for x, y in batches():
            rows = supernet.single_path() if epoch < plan.warm_up else \
                weights(supernet.logits.detach(), kind, heat)  # fmt: skip
            loss = torch.nn.functional.cross_entropy(supernet(x, rows), y)
            weigh.zero_grad()
            loss.backward()
            weigh.step()
        if epoch >= plan.warm_up:
            for x, y in held_out():
                _choose(supernet, choose, x, y, price, kind, heat)
        with torch.no_grad():
            progress(epoch + 1, whole, float(price.expected(torch.softmax(supernet.logits, -1))))
    return supernet.logits.detach()


def _choose(supernet: Supernet, optimiser: Any, x: Any, y: Any, price: LatencyLoss, kind: str,
            heat: float) -> None:  # fmt: skip
    before = supernet.logits.detach().clone()
    rows, drawn = (
        binary(supernet.logits)
        if kind == "binary"
        else (weights(supernet.logits, kind, heat), None)
    )
    entropy = torch.nn.functional.cross_entropy(supernet(x, rows, drawn), y)
    # FBNet prices what was drawn, the others the probabilities themselves.
    priced = rows if kind == "gumbel" else torch.softmax(supernet.logits, dim=-1)
    optimiser.zero_grad()
    price(entropy, priced).backward()
    gradient = supernet.logits.grad
    gradient[~torch.isfinite(before)] = 0.0
    optimiser.step()
    if kind == "binary":
        with torch.no_grad():
            supernet.logits.copy_(keep_untouched(before, supernet.logits.detach()))
