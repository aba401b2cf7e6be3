"""AMC (He et al. 2018): an agent that walks the layers, its actions clipped by the budget.

Deep deterministic policy gradients with two small networks in NumPy: enough for the handful of
groups of one network, and no training framework is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.pruning.problem import Problem

_EPISODES, _WARM, _HIDDEN, _BATCH = 120, 30, 32, 32
_NOISE, _NOISE_DECAY = 0.5, 0.95


def amc(problem: Problem) -> Any:
    """The mask of the best episode.

    One action, the share of units kept, per group in order. Before it is taken, it is clipped to
    what leaves the limit reachable with every later group at its narrowest. The reward of an
    episode is −error.
    """
    problem.check()
    random = np.random.default_rng(problem.seed)
    actor, critic = _Net(5, random, sigmoid=True), _Net(6, random, sigmoid=False)
    memory: list[tuple[Any, float, float]] = []
    best, best_loss = problem.best(problem.least), np.inf
    mean = 0.0
    for episode in range(_EPISODES):
        noise = _NOISE * _NOISE_DECAY ** max(0, episode - _WARM)
        widths, states, actions = _episode(problem, actor, random, noise, episode < _WARM)
        kept = problem.best(widths)
        loss = problem.loss(kept)
        if loss < best_loss and problem.cost(widths) <= problem.limit:
            best, best_loss = kept, loss
        mean = 0.95 * mean + 0.05 * loss if episode else loss
        memory += [(s, a, mean - loss) for s, a in zip(states, actions, strict=True)]
        if episode >= _WARM:
            _learn(actor, critic, memory, random)
    return problem.filled(best)


def clipped(problem: Problem, widths: Any, group: int, wanted: int) -> int:
    """The largest width up to ``wanted`` that leaves the limit reachable.

    Groups before ``group`` are as in ``widths``; later ones count at their narrowest.
    """
    steps = [w for w in problem.steps(group) if w <= max(wanted, int(problem.least[group]))]
    trial = widths.copy()
    trial[group + 1 :] = problem.least[group + 1 :]
    for width in reversed(steps):
        trial[group] = width
        if problem.cost(trial) <= problem.limit:
            return width
    return steps[0]


def _episode(
    problem: Problem, actor: _Net, random: Any, noise: float, warm: bool
) -> tuple[Any, list[Any], list[float]]:
    sizes = problem.found.widths
    widths, states, actions = sizes.copy(), [], []
    full, last = problem.cost(sizes), 1.0
    for group in range(len(sizes)):
        ahead = widths.copy()
        ahead[group + 1 :] = problem.least[group + 1 :]
        state = np.array([group / len(sizes), np.log1p(sizes[group]) / 8,
                          problem.cost(ahead) / full, problem.limit / full, last])  # fmt: skip
        wish = random.random() if warm else float(actor(state[None])[0, 0])
        if not warm:
            wish = float(np.clip(wish + noise * random.standard_normal(), 0.0, 1.0))
        widths[group] = clipped(problem, widths, group, int(np.ceil(wish * sizes[group])))
        last = float(widths[group] / sizes[group])
        states.append(state)
        actions.append(last)
    return widths, states, actions


def _learn(actor: _Net, critic: _Net, memory: list[Any], random: Any) -> None:
    for _ in range(4):
        rows = [memory[i] for i in random.integers(len(memory), size=_BATCH)]
        states = np.array([row[0] for row in rows])
        actions = np.array([[row[1]] for row in rows])
        rewards = np.array([[row[2]] for row in rows])
        # As in AMC's own code the reward of the episode stands for every step (γ = 1).
        values = critic(np.hstack([states, actions]))
        critic.step(2 * (values - rewards) / len(rows))
        chosen = actor(states)
        critic(np.hstack([states, chosen]))
        actor.step(-critic.gradient(np.ones((len(rows), 1)) / len(rows))[:, -1:])


class _Net:
    """One hidden layer of tanh, trained by Adam."""

    def __init__(self, inputs: int, random: Any, *, sigmoid: bool, rate: float = 3e-3) -> None:
        self._w = [random.standard_normal((inputs, _HIDDEN)) / np.sqrt(inputs), np.zeros(_HIDDEN),
                   random.standard_normal((_HIDDEN, 1)) * 0.1, np.zeros(1)]  # fmt: skip
        self._first = [np.zeros_like(w) for w in self._w]
        self._second = [np.zeros_like(w) for w in self._w]
        self._sigmoid, self._rate, self._time = sigmoid, rate, 0

    def __call__(self, x: Any) -> Any:
        self._x = x
        self._h = np.tanh(x @ self._w[0] + self._w[1])
        y = self._h @ self._w[2] + self._w[3]
        self._y = 1 / (1 + np.exp(-y)) if self._sigmoid else y
        return self._y

    def gradient(self, upstream: Any) -> Any:
        """With respect to the last input."""
        g = self._inner(upstream)
        return (g @ self._w[2].T * (1 - self._h**2)) @ self._w[0].T

    def step(self, upstream: Any) -> None:
        """One step of Adam down the gradient of the last input's outputs."""
        g = self._inner(upstream)
        h = g @ self._w[2].T * (1 - self._h**2)
        slopes = [self._x.T @ h, h.sum(0), self._h.T @ g, g.sum(0)]
        self._time += 1
        for i, slope in enumerate(slopes):
            self._first[i] = 0.9 * self._first[i] + 0.1 * slope
            self._second[i] = 0.999 * self._second[i] + 0.001 * slope**2
            mean = self._first[i] / (1 - 0.9**self._time)
            size = np.sqrt(self._second[i] / (1 - 0.999**self._time))
            self._w[i] = self._w[i] - self._rate * mean / (size + 1e-8)

    def _inner(self, upstream: Any) -> Any:
        return upstream * self._y * (1 - self._y) if self._sigmoid else upstream
