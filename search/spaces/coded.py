"""What all spaces of blocks × choices share: sampling, variation, checks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Counts

if TYPE_CHECKING:
    import onnx

MOST_LISTED = 1_000_000


class CodedSpace(ABC):
    """A space whose codes are free: every combination of choices is an architecture."""

    name: str
    choices: tuple[int, ...]
    rewrites: tuple[str, ...] = ("none",)

    @abstractmethod
    def _parse(self, architecture: Any) -> Sequence[int]:
        """The code of one published spelling; ValueError, KeyError or TypeError if it is none."""

    @abstractmethod
    def _write(self, code: Sequence[int]) -> str:
        """The published spelling of one code."""

    @abstractmethod
    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """See :class:`lwprof.predictors.space.Space`."""

    @property
    @abstractmethod
    def spelling(self) -> str:
        """How an architecture is written, for messages."""

    @abstractmethod
    def build(self, architecture: Any) -> onnx.ModelProto:
        """The architecture as an ONNX graph."""

    def __repr__(self) -> str:
        return f"space({self.name!r})"

    def count(self) -> int:
        """How many different codes there are."""
        return math.prod(self.choices)

    def all_codes(self) -> Codes:
        """Every code, the last block changing fastest.

        Raises:
            UsageError: more than a million.
        """
        if self.count() > MOST_LISTED:
            raise UsageError(
                f"{self.name} has {self.count():.3g} architectures, too many to list: "
                "use sample(n, rng)"
            )
        return np.indices(self.choices).reshape(len(self.choices), -1).T.astype(np.int64)

    def encode(self, architectures: Sequence[Any]) -> Codes:
        """(n, blocks) from published spellings, or from codes.

        Raises:
            UsageError: one is no architecture of this space; it is named.
        """
        if isinstance(architectures, str | bytes):
            raise UsageError(f"{self.name}: encode takes a list of architectures, not one string")
        codes = np.empty((len(architectures), len(self.choices)), dtype=np.int64)
        for row, architecture in enumerate(architectures):
            try:
                codes[row] = self._parse(architecture)
                if not self._within(codes[row]):
                    raise ValueError
            except (ValueError, KeyError, TypeError, IndexError):
                raise UsageError(
                    f"{architecture!r:.80} (number {row}) is no architecture of {self.name}: "
                    f"write it {self.spelling}"
                ) from None
        return codes

    def decode(self, codes: Codes) -> list[str]:
        """The published spelling of each code."""
        return [self._write(code) for code in self.check(codes).tolist()]

    def check(self, codes: Any) -> Codes:
        """``codes`` as an (n, blocks) integer array.

        Raises:
            UsageError: wrong width, not whole numbers, or a choice that does not exist.
        """
        try:
            given = np.asarray(codes)
        except ValueError:
            given = np.empty(0, dtype=object)
        if given.ndim != 2 or given.shape[1] != len(self.choices) or given.dtype.kind not in "iu":
            raise UsageError(
                f"{self.name}: codes must be whole numbers of shape (n, {len(self.choices)}), "
                f"not {given.dtype} of shape {given.shape}: make them with encode(architectures)"
            )
        found = given.astype(np.int64, copy=False)
        if len(found) and not self._within(found):
            row, block = np.argwhere((found < 0) | (found >= self.choices))[0]
            raise UsageError(
                f"{self.name}: code {row} has choice {found[row, block]} in block {block}, "
                f"which has choices 0 to {self.choices[block] - 1}"
            )
        return found

    def _within(self, codes: Codes) -> bool:
        return bool(np.all((codes >= 0) & (codes < np.asarray(self.choices))))

    def connected(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether the input reaches the output: always, unless a space says otherwise."""
        return np.ones(len(codes), dtype=bool)

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """Codes with what ``rewrite`` removes set to the choice that does nothing."""
        self._known(rewrite)
        return codes

    def _known(self, rewrite: str) -> None:
        if rewrite not in self.rewrites:
            raise UsageError(
                f"{self.name} knows no rewrite {rewrite!r}, only {', '.join(self.rewrites)}"
            )

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``n`` codes, uniform and independent."""
        return rng.integers(0, self.choices, size=(n, len(self.choices)))

    def mutate(self, codes: Codes, rng: np.random.Generator, probability: float = 0.1) -> Codes:
        """Each block changed with a probability; at least one block of each code changes."""
        if not 0 <= probability <= 1:
            raise UsageError(f"a mutation probability lies between 0 and 1, not {probability}")
        chosen = rng.random(codes.shape) < probability
        idle = np.flatnonzero(~chosen.any(axis=1))
        chosen[idle, rng.integers(0, codes.shape[1], size=len(idle))] = True
        # A step of 1 … choices − 1 around the ring of choices never lands where it began.
        steps = rng.integers(1, np.maximum(self.choices, 2), size=codes.shape)
        return np.where(chosen, (codes + steps) % np.asarray(self.choices), codes)

    def cross_over(self, a: Codes, b: Codes, rng: np.random.Generator) -> Codes:
        """Each block from one of two parents, evenly."""
        if a.shape != b.shape:
            raise UsageError(f"parents must be equally many, not {len(a)} and {len(b)}")
        return np.where(rng.random(a.shape) < 0.5, a, b)

    def neighbours(self, code: Codes) -> Codes:
        """All codes that differ from ``code`` in exactly one block."""
        one = self.check(np.atleast_2d(code))[0]
        rows = []
        for block, options in enumerate(self.choices):
            for choice in range(options):
                if choice != one[block]:
                    rows.append(one.copy())
                    rows[-1][block] = choice
        return np.array(rows)
