"""What a regressor, a table or a search asks of a space of architectures.

An architecture is a row of small integers, its *code*: one choice for every block. Spaces
translate between codes and the spellings people publish, and know the physics of a code: what
is counted, and what a runtime's rewrites leave of it. Implementations: ``search/spaces``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Physical counts of architectures after one set of rewrites.

    Attributes:
        values: (n, columns), never negative; a cost is roughly linear in them.
        names: of the columns, such as ``live_mmacs`` or ``conv3x3``.
    """

    values: Floats
    names: tuple[str, ...]


@runtime_checkable
class Space(Protocol):
    """Blocks × choices, and what is known of an architecture without running it."""

    @property
    def name(self) -> str:
        """As in ``lwprof.search.space(name)``."""
        ...

    @property
    def choices(self) -> tuple[int, ...]:
        """How many choices each block has."""
        ...

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Names of the sets of graph rewrites that counts can be taken after; first: none."""
        ...

    def count(self) -> int:
        """How many different codes there are."""
        ...

    def encode(self, architectures: Sequence[Any]) -> Codes:
        """(n, blocks) from published spellings.

        Raises:
            UsageError: one is no architecture of this space; it is named.
        """
        ...

    def decode(self, codes: Codes) -> list[str]:
        """The published spelling of each code."""
        ...

    def check(self, codes: Any) -> Codes:
        """``codes`` as an (n, blocks) integer array.

        Raises:
            UsageError: wrong width, not whole numbers, or a choice that does not exist.
        """
        ...

    def connected(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether the input reaches the output."""
        ...

    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """Physical counts after ``rewrite``."""
        ...

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """Codes with what ``rewrite`` removes set to the choice that does nothing."""
        ...

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """``n`` codes, uniform and independent."""
        ...

    def mutate(self, codes: Codes, rng: np.random.Generator, probability: float = 0.1) -> Codes:
        """Each block drawn anew with a probability; at least one block of each code changes."""
        ...

    def cross_over(self, a: Codes, b: Codes, rng: np.random.Generator) -> Codes:
        """Each block from one of two parents, evenly."""
        ...

    def neighbours(self, code: Codes) -> Codes:
        """All codes that differ from ``code`` in exactly one block."""
        ...

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The architecture as an ONNX graph.

        Raises:
            UsageError: the zoo cannot build architectures of this space.
        """
        ...


def one_hot(codes: Codes, choices: Sequence[int]) -> Floats:
    """(n, Σ choices): a one for every block's choice, blocks in order."""
    starts = np.concatenate([[0], np.cumsum(choices)[:-1]])
    wide = np.zeros((len(codes), int(np.sum(choices))))
    np.put_along_axis(wide, codes + starts, 1.0, axis=1)
    return wide
