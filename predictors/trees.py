"""Extremely randomised trees over kernels: for costs that jump where a runtime changes its way.

Grown by scikit-learn, kept as arrays, evaluated by NumPy. Their answer is the value that minimises
the expected relative error over what the trees say, a median weighted by one over each value: where
a kernel may go either of two ways, being thrice too high is worse than being a third.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.predictors.space import Floats

TREES = 80
_KINDS = {"feature": "int16", "threshold": "float32", "left": "int32", "right": "int32",
          "value": "float32", "roots": "int32"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trees:
    """All trees' nodes behind each other.

    Attributes:
        feature: (nodes,) which one a node looks at; -1 at a leaf.
        threshold, left, right: (nodes,) where to go: left when the feature is at most this.
        value: (nodes,) log cost at a leaf.
        roots: (trees,) first node of each.
    """

    feature: NDArray[Any]
    threshold: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    value: NDArray[Any]
    roots: NDArray[Any]

    def votes(self, features: Floats) -> Floats:
        """(n, trees) log costs of rows (n, p)."""
        rows = features.astype(np.float32)
        place = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        row = np.arange(len(rows))[:, None]
        while (inner := self.feature[place] >= 0).any():
            goes_left = rows[row, np.maximum(self.feature[place], 0)] <= self.threshold[place]
            place = np.where(inner, np.where(goes_left, self.left[place], self.right[place]), place)
        return np.asarray(self.value[place], dtype=np.float64)

    def predict_log(self, features: Floats) -> Floats:
        """(n,) log of the cost with the least expected relative error."""
        votes = np.sort(self.votes(features), axis=1)
        weight = np.exp(votes[:, :1] - votes)
        reached = weight.cumsum(axis=1) >= weight.sum(axis=1, keepdims=True) / 2
        return np.asarray(votes[np.arange(len(votes)), reached.argmax(axis=1)])

    def to_json(self) -> dict[str, str]:
        """Base64 of little-endian arrays."""
        return {
            name: base64.b64encode(
                getattr(self, name).astype(np.dtype(kind).newbyteorder("<")).tobytes()
            ).decode()
            for name, kind in _KINDS.items()
        }

    @classmethod
    def from_json(cls, entry: dict[str, str], features: int) -> Trees:
        """What :meth:`to_json` gave; it is untrusted.

        Raises:
            ValueError: it does not fit together.
        """
        found = cls(**{
            name: np.frombuffer(base64.b64decode(entry[name], validate=True),
                                np.dtype(kind).newbyteorder("<")).astype(kind)
            for name, kind in _KINDS.items()
        })  # fmt: skip
        count = len(found.feature)
        inner = found.feature >= 0
        place = np.arange(count)
        sound = (
            len({len(getattr(found, name)) for name in _KINDS if name != "roots"}) == 1
            and len(found.roots) > 0
            and bool((found.feature < features).all() and np.isfinite(found.value).all())
            and bool((found.roots >= 0).all() and (found.roots < count).all())
            # Children lie behind their parents, so that every walk ends.
            and bool((found.left[inner] > place[inner]).all() and (found.left < count).all())
            and bool((found.right[inner] > place[inner]).all() and (found.right < count).all())
        )
        if not sound:
            raise ValueError("its trees do not fit together")
        return found


def grow(features: Floats, log_y: Floats, random_state: int, trees: int = TREES) -> Trees:
    """Trees for log costs (n,) of rows (n, p)."""
    from sklearn.ensemble import ExtraTreesRegressor

    model = ExtraTreesRegressor(trees, random_state=random_state)
    model.fit(features.astype(np.float32), log_y)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _KINDS if name != "roots"}
    roots, start = [], 0
    for estimator in model.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        limit = tree.threshold.astype(np.float32)
        # Rows are float32: the largest float32 not above the limit separates them alike.
        limit = np.where(limit > tree.threshold, np.nextafter(limit, np.float32(-np.inf)), limit)
        parts["feature"].append(np.where(leaf, -1, tree.feature))
        parts["threshold"].append(np.where(leaf, 0.0, limit))
        parts["left"].append(np.where(leaf, 0, tree.children_left + start))
        parts["right"].append(np.where(leaf, 0, tree.children_right + start))
        parts["value"].append(tree.value.reshape(-1))
        roots.append(start)
        start += tree.node_count
    arrays = {name: np.concatenate(found).astype(_KINDS[name]) for name, found in parts.items()}
    return Trees(**arrays, roots=np.array(roots, dtype=_KINDS["roots"]))


def left_out(
    features: Floats, log_y: Floats, random_state: int, parts: int = 4, trees: int = TREES
) -> Floats:
    """(n,) prediction minus value, each sample predicted by trees that saw none of its part."""
    order = np.random.default_rng(random_state).permutation(len(log_y))
    found = np.empty(len(log_y))
    for held in np.array_split(order, parts):
        kept = np.setdiff1d(order, held)
        grown = grow(features[kept], log_y[kept], random_state, trees)
        found[held] = grown.predict_log(features[held]) - log_y[held]
    return found
