"""Costs of every choice of every block, and a base: a network costs the sum of its choices.

table = BlockTable.fit(space, codes, y)       additive fit to measured networks
table = BlockTable.project(space, regressor)  main effects of any regressor
table.predict(codes)                          (n, quantities), millions of codes a second
table.expected(probs)                         linear in probabilities; torch in, torch out
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lwprof.errors import StoreError, UsageError
from lwprof.predictors.samples import check_samples
from lwprof.predictors.space import Codes, Floats, Space, one_hot

CHUNK = 16384
MOST_JOINED = 8192  # entries of the sums of neighbouring blocks, small enough for a cache
SCHEMA = "lwprof.block_table/1"


class Predictor(Protocol):
    """Anything that answers costs of codes."""

    def predict(self, xs: Any) -> Floats:
        """(n,) costs."""
        ...


class BlockTable:
    """An additive cost model over blocks × choices.

    Args:
        choices: how many choices each block has.
        costs: (blocks, most choices, quantities); NaN where a block has no such choice.
        base: (quantities,) what every network costs besides.
        quantities: names of the columns, SI units in them.
        source: where the costs come from: ``measured``, ``predicted``, ``simulated`` …
        origin: ``measured_here`` or ``imported``.
    """

    def __init__(
        self, choices: Sequence[int], costs: Any, base: Any,
        quantities: Sequence[str] = ("latency_s",), source: str = "predicted",
        origin: str = "measured_here",
    ) -> None:  # fmt: skip
        self.choices = tuple(int(c) for c in choices)
        self.costs: Floats = np.asarray(costs, dtype=np.float64)
        self.base: Floats = np.asarray(base, dtype=np.float64)
        self.quantities, self.source, self.origin = tuple(quantities), source, origin
        wanted = (len(self.choices), max(self.choices), len(self.quantities))
        exists = np.arange(wanted[1]) < np.asarray(self.choices)[:, None]
        if self.costs.shape != wanted or self.base.shape != wanted[2:]:
            raise UsageError(f"a block table needs costs of shape {wanted} and a base of shape "
                             f"{wanted[2:]}, not {self.costs.shape} and {self.base.shape}")  # fmt: skip
        if not (np.isfinite(self.costs[exists]).all() and np.isfinite(self.base).all()):
            block, choice = np.argwhere(~np.isfinite(self.costs).all(axis=2) & exists)[0]
            raise UsageError(f"block table: choice {choice} of block {block} has no finite cost")
        self._filled: Floats = np.where(exists[:, :, None], self.costs, 0.0)
        self._groups = _join(self._filled, self.choices)

    @classmethod
    def fit(cls, space: Space, codes: Any, y: Any, **labels: Any) -> BlockTable:
        """The least-squares additive table of measured networks, by relative error.

        Raises:
            UsageError: fewer networks than it takes to tell the choices apart, and how many.
        """
        free = 1 + sum(c - 1 for c in space.choices)
        known, cost = check_samples(space, codes, y, free, "BlockTable.fit")
        rows = np.concatenate([one_hot(known, space.choices), np.ones((len(known), 1))], axis=1)
        missing = np.flatnonzero(rows[:, :-1].sum(axis=0) == 0)
        if len(missing):
            raise UsageError(f"BlockTable.fit: {len(missing)} choices occur in no network: "
                             "measure networks that contain them")  # fmt: skip
        beta: Floats = np.linalg.lstsq(rows / cost[:, None], np.ones(len(cost)), rcond=1e-10)[
            0
        ].astype(float)
        return cls._from_effects(space, beta[:-1], float(beta[-1]), **labels)

    @classmethod
    def project(
        cls, space: Space, regressor: Predictor, n: int = 4000, random_state: int = 0,
        **labels: Any,
    ) -> BlockTable:  # fmt: skip
        """The additive table nearest to a regressor on ``n`` random networks."""
        codes = np.unique(space.sample(n, np.random.default_rng(random_state)), axis=0)
        return cls.fit(space, codes, regressor.predict(codes), **labels)

    @classmethod
    def _from_effects(cls, space: Space, effects: Floats, base: float, **labels: Any) -> BlockTable:
        costs = np.full((len(space.choices), max(space.choices), 1), np.nan)
        starts = np.cumsum([0, *space.choices])
        for block, options in enumerate(space.choices):
            values = effects[starts[block] : starts[block + 1]]
            base += float(values.min())
            costs[block, :options, 0] = values - values.min()
        return cls(space.choices, costs, [base], **labels)

    def predict(self, codes: Any) -> Floats:
        """(n, quantities).

        Raises:
            UsageError: not whole numbers of shape (n, blocks), or a choice that does not exist.
        """
        given = np.asarray(codes)
        if given.ndim != 2 or given.shape[1] != len(self.choices) or given.dtype.kind not in "iu":
            raise UsageError(f"block table: codes must be whole numbers of shape "
                             f"(n, {len(self.choices)}), not {given.dtype} of {given.shape}")  # fmt: skip
        out = np.empty((len(given), len(self.quantities)))
        for start in range(0, len(given), CHUNK):
            rows = slice(start, start + CHUNK)
            self._sum(given[rows], out[rows])
        return out

    def _sum(self, codes: Codes, out: Floats) -> None:
        columns = np.ascontiguousarray(codes.T)
        for block, options in enumerate(self.choices):
            if columns[block].min() < 0 or columns[block].max() >= options:
                raise UsageError(f"block table: block {block} has choices 0 to {options - 1}, "
                                 f"not {columns[block].min()} to {columns[block].max()}")  # fmt: skip
        out[:] = self.base
        for first, last, sums in self._groups:
            index = columns[first].astype(np.int64)
            for block in range(first + 1, last):
                index *= self.choices[block]
                index += columns[block]
            for quantity in range(out.shape[1]):
                out[:, quantity] += sums[:, quantity].take(index)

    def expected(self, probs: Any) -> Any:
        """(quantities,) expected costs when block b takes choice c with probability probs[b, c].

        Args:
            probs: (blocks, most choices), numpy or torch; further dimensions may come first.
                A torch tensor gives a torch tensor, differentiable.
        """
        if type(probs).__module__.split(".")[0] == "torch":
            flat = probs.reshape(*probs.shape[:-2], -1)
            costs = probs.new_tensor(self._filled.reshape(-1, len(self.quantities)).tolist())
            return flat @ costs + probs.new_tensor(self.base.tolist())
        values = np.asarray(probs, dtype=np.float64)
        if values.shape[-2:] != self._filled.shape[:2]:
            raise UsageError(f"block table: probabilities must end in shape "
                             f"{self._filled.shape[:2]}, not {values.shape}")  # fmt: skip
        return np.einsum("...bc,bcq->...q", values, self._filled) + self.base

    def save(self, path: str | Path) -> None:
        """Writes ``lwprof.block_table/1`` (JSON)."""
        entry = {
            "schema": SCHEMA, "choices": self.choices, "quantities": self.quantities,
            "source": self.source, "origin": self.origin, "base": self.base.tolist(),
            "costs": [self.costs[b, :c].tolist() for b, c in enumerate(self.choices)],
        }  # fmt: skip
        Path(path).write_text(json.dumps(entry), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> BlockTable:
        """Reads what :meth:`save` wrote.

        Raises:
            StoreError: not such a file.
        """
        try:
            entry = json.loads(Path(path).read_text(encoding="utf-8"))
            if entry["schema"] != SCHEMA:
                raise ValueError(entry["schema"])
            choices = [int(c) for c in entry["choices"]]
            costs = np.full((len(choices), max(choices), len(entry["quantities"])), np.nan)
            for block, options in enumerate(choices):
                costs[block, :options] = np.asarray(entry["costs"][block], dtype=np.float64)
            return cls(choices, costs, entry["base"], entry["quantities"], entry["source"],
                       entry["origin"])  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise StoreError(f"{path} is no block table: {error}") from None


def _join(costs: Floats, choices: Sequence[int]) -> list[tuple[int, int, Floats]]:
    """Neighbouring blocks as one, their costs summed for every combination: fewer look-ups."""
    groups, first = [], 0
    while first < len(choices):
        sums = costs[first, : choices[first]]
        last = first + 1
        while last < len(choices) and len(sums) * choices[last] <= MOST_JOINED:
            nxt = costs[last, : choices[last]]
            sums = (sums[:, None] + nxt[None]).reshape(-1, sums.shape[-1])
            last += 1
        groups.append((first, last, np.asfortranarray(sums)))
        first = last
    return groups
