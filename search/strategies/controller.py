"""Policy gradients: an RNN controller draws the choices one by one (REINFORCE), and MnasNet.

An LSTM reads its last choice and answers the next block's probabilities; its weights climb the
expected reward with a moving-average baseline and an entropy bonus (arXiv 1611.01578). MnasNet
(arXiv 1807.11626) rewards ACC · (LAT ÷ T)^w, w = α while the limit holds and β beyond it: soft
with α = β = −0.07, hard with α = 0 and β = −1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.errors import MissingExtra
from lwprof.predictors.space import Codes, Floats
from lwprof.search.problem import Budget, scores

HIDDEN, DRAWN, BATCH, RATE, ENTROPY = 48, 64, 8, 2e-2, 1e-2
Reward = Callable[[Floats, Floats, Floats], Floats]


def mnasnet_reward(merit: Floats, relative_cost: Floats, alpha: float = -0.07,
                   beta: float = -0.07) -> Floats:  # fmt: skip
    """merit · (cost ÷ limit)^w, with w = alpha where the limit holds and beta where not.

    Args:
        merit: (n,), not negative, such as an accuracy.
        relative_cost: (n,) cost ÷ limit.
    """
    power = np.where(relative_cost <= 1, alpha, beta)
    found: Floats = merit * np.maximum(relative_cost, 1e-6) ** power
    return found


def reinforce(budget: Budget, rng: np.random.Generator) -> None:
    """The reward is the merit's rank, infeasible architectures below all feasible ones."""
    _train(budget, rng, lambda merits, violations, _: scores(merits, violations))


def mnasnet(budget: Budget, rng: np.random.Generator) -> None:
    """The soft reward: limits may be exceeded while the controller learns."""
    _train(budget, rng, lambda merits, _, cost: mnasnet_reward(_positive(merits), cost))


def mnasnet_hard(budget: Budget, rng: np.random.Generator) -> None:
    """The hard reward: nothing for staying below the limit, a penalty in proportion beyond it."""
    _train(budget, rng, lambda merits, _, cost: mnasnet_reward(_positive(merits), cost, 0.0, -1.0))


def _positive(merits: Floats) -> Floats:
    return np.maximum(np.nan_to_num(merits, neginf=0.0), 0.0)


def _train(budget: Budget, rng: np.random.Generator, reward: Reward) -> None:
    try:
        import torch
    except ImportError:
        raise MissingExtra("policy gradients need PyTorch: pip install 'lwprof[torch]'") from None
    state = torch.random.get_rng_state()
    torch.manual_seed(int(rng.integers(2**31)))
    try:
        _climb(torch, budget, reward)
    finally:
        torch.random.set_rng_state(state)


def _climb(torch: Any, budget: Budget, reward: Reward) -> None:
    policy = _Controller(torch, budget.problem.space.choices)
    optimiser = torch.optim.Adam(policy.parameters(), lr=RATE)
    seen: list[float] = []
    while True:
        codes, logs, entropy = policy.draw(DRAWN)
        # Draws that are known already would teach what is known: the new ones come first.
        rows = np.argsort(~budget.is_new(codes), kind="stable")[:BATCH]
        codes, logs = codes[rows], logs[torch.as_tensor(rows)]
        merits, violations = budget.evaluate(codes)
        earned = reward(merits, violations, budget.problem.constraints.relative(codes))
        seen.extend(earned.tolist())
        gain = _ranks(earned, np.asarray(seen))
        loss = -(torch.as_tensor(gain, dtype=torch.float32) * logs).mean() - ENTROPY * entropy
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _ranks(earned: Floats, seen: Floats) -> Floats:
    """Where rewards stand among the last ones, from −1 to 1: free of the merit's scale."""
    recent = np.sort(seen[-512:])
    places = np.searchsorted(recent, earned, "left") + np.searchsorted(recent, earned, "right")
    stand = places / len(recent) - 1
    found: Floats = stand - stand.mean() * 0.5
    return found


class _Controller:
    """An LSTM cell, an embedding for every choice, and a linear layer for every block."""

    def __init__(self, torch: Any, choices: tuple[int, ...]) -> None:
        nn, self._torch, self._choices = torch.nn, torch, choices
        self._embed = nn.ModuleList(nn.Embedding(c, HIDDEN) for c in (1, *choices[:-1]))
        self._cell = nn.LSTMCell(HIDDEN, HIDDEN)
        self._heads = nn.ModuleList(nn.Linear(HIDDEN, c) for c in choices)
        for head in self._heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def parameters(self) -> list[Any]:
        """All that is trained."""
        return [p for m in (self._embed, self._cell, self._heads) for p in m.parameters()]

    def draw(self, n: int) -> tuple[Codes, Any, Any]:
        """Codes (n, blocks), the logs of their probabilities (n,) and the mean entropy."""
        torch = self._torch
        choice, state = torch.zeros(n, dtype=torch.long), None
        codes, logs, entropies = [], torch.zeros(n), []
        for embed, head in zip(self._embed, self._heads, strict=True):
            state = self._cell(embed(choice), state)
            spread = torch.distributions.Categorical(logits=head(state[0]))
            choice = spread.sample()
            logs = logs + spread.log_prob(choice)
            entropies.append(spread.entropy().mean())
            codes.append(choice)
        return torch.stack(codes, 1).numpy(), logs, torch.stack(entropies).mean()
