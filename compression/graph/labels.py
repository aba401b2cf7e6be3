"""Labels of channels: which slices of which tensors stand and fall together.

Every value carries an array of labels that broadcasts to its shape: along the axes on which it
varies, one label per index. Equal labels (after ``join``) are removed together; label 0 is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

FIXED = 0


class Labels:
    """A union-find of labels, with the reason why some of them are fixed."""

    def __init__(self) -> None:
        self._parent = [FIXED]
        self._reason: dict[int, str] = {}

    def new(self, count: int) -> Any:
        """``count`` fresh labels, shape (count,)."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, label: int) -> int:
        """The representative of a label."""
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def roots(self, labels: Any) -> Any:
        """Representatives, same shape."""
        flat = [self.find(int(label)) for label in np.asarray(labels).ravel()]
        return np.array(flat, dtype=np.int64).reshape(np.shape(labels))

    def join(self, first: Any, second: Any, reason: str = "") -> None:
        """Makes labels equal, element by element with broadcasting."""
        a, b = np.broadcast_arrays(first, second)
        for x, y in {(int(x), int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)}:
            low, high = sorted((self.find(x), self.find(y)))
            if low == high:
                continue
            self._parent[high] = low
            known = self._reason.pop(high, "") or self._reason.get(low, "") or reason
            if known:
                self._reason[low if low != FIXED else high] = known

    def fix(self, labels: Any, reason: str) -> None:
        """Makes labels fixed for a reason."""
        for label in {self.find(int(label)) for label in np.asarray(labels).ravel()} - {FIXED}:
            self._parent[label] = FIXED
            self._reason[label] = self._reason.get(label) or reason

    def reason(self, label: int) -> str:
        """Why a label is fixed; "" where nothing is known."""
        while True:
            if label in self._reason:
                return self._reason[label]
            if self._parent[label] == label:
                return ""
            label = self._parent[label]


def varying(labels: Any) -> tuple[int, ...]:
    """Axes along which labels differ by index."""
    return tuple(axis for axis, extent in enumerate(np.shape(labels)) if extent > 1)


def squeezed(labels: Any) -> Any:
    """The same labels with every axis along which nothing changes cut to one index."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            first = labels.take([0], axis)
            if (labels == first).all():
                labels = first
    return labels


def reshaped(labels: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    """Labels of the same elements in another shape.

    Axes that nothing varies along are skipped where they are the last ones in both shapes, so
    that images need not be written out.
    """
    before, after = list(before), list(after)
    tail = 0
    while (tail < min(len(before), len(after)) and before[-1 - tail] == after[-1 - tail]
           and labels.shape[len(before) - 1 - tail] == 1):  # fmt: skip
        tail += 1
    head = before[: len(before) - tail]
    cut = labels.reshape(labels.shape[: len(head)])
    full = np.broadcast_to(cut, head).reshape(after[: len(after) - tail])
    return squeezed(full).reshape(*squeezed(full).shape, *([1] * tail))


def expanded(labels: Any, axis: int, extent: int) -> Any:
    """Labels written out along one axis."""
    shape = list(labels.shape)
    shape[axis] = extent
    return np.broadcast_to(labels, shape)


def same_elements(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether two shapes hold equally many elements."""
    return prod(before) == prod(after)
