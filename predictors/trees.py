"""Boosted regression trees: grown by scikit-learn, kept as ONNX, evaluated by NumPy.

A scikit-learn ensemble costs milliseconds a row and its pickle runs code when it is read; the
same trees as arrays cost microseconds and are data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import UsageError

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float64]

_DEPTH = 3
_INNER, _LEAVES = 2**_DEPTH - 1, 2**_DEPTH


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete binary trees of depth 3; node i has children 2i + 1 (x ≤ threshold) and 2i + 2.

    Attributes:
        base: added to the sum of the trees.
        feature, threshold: of the inner nodes, shape (trees, 7). A missing node has threshold
            +inf, so that everything goes left.
        leaf: shape (trees, 8).
    """

    base: float
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    leaf: Floats

    def predict(self, x: Floats) -> Floats:
        """Sums of the trees for rows ``x``, shape (n, features) → (n,)."""
        rows = x.astype(np.float32)
        trees = np.arange(len(self.feature))
        place = np.zeros((len(rows), len(trees)), dtype=np.int64)
        for _ in range(_DEPTH):
            feature, threshold = self.feature[trees, place], self.threshold[trees, place]
            right = np.take_along_axis(rows, feature, axis=1) > threshold
            place = 2 * place + 1 + right
        total = self.leaf[trees, place - _INNER].sum(axis=1)
        return np.asarray(self.base + total, dtype=np.float64)

    def to_onnx(self) -> onnx.ModelProto:
        """A ``TreeEnsembleRegressor`` of ``ai.onnx.ml``, input ``x`` (n, features), output ``y``."""
        from onnx import TensorProto, helper

        count = len(self.feature)
        nodes = _INNER + _LEAVES
        feature = np.concatenate([self.feature, np.zeros((count, _LEAVES), np.int64)], axis=1)
        limit = np.concatenate([self.threshold, np.zeros((count, _LEAVES), np.float32)], axis=1)
        inner = np.arange(_INNER)
        node = helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
            base_values=[self.base], post_transform="NONE", aggregate_function="SUM",
            nodes_treeids=np.repeat(np.arange(count), nodes).tolist(),
            nodes_nodeids=np.tile(np.arange(nodes), count).tolist(),
            nodes_featureids=feature.reshape(-1).tolist(),
            nodes_values=np.minimum(limit, np.finfo(np.float32).max).reshape(-1).tolist(),
            nodes_modes=(["BRANCH_LEQ"] * _INNER + ["LEAF"] * _LEAVES) * count,
            nodes_truenodeids=np.tile(np.r_[2 * inner + 1, np.zeros(_LEAVES, int)], count).tolist(),
            nodes_falsenodeids=np.tile(np.r_[2 * inner + 2, np.zeros(_LEAVES, int)], count).tolist(),
            target_treeids=np.repeat(np.arange(count), _LEAVES).tolist(),
            target_nodeids=np.tile(np.arange(_INNER, nodes), count).tolist(),
            target_ids=[0] * (count * _LEAVES),
            target_weights=self.leaf.reshape(-1).tolist(),
        )  # fmt: skip
        graph = helper.make_graph(
            [node], "trees",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def to_json(self) -> dict[str, Any]:
        """What the arrays are, for reading back without ONNX."""
        return {"base": self.base, "feature": self.feature.tolist(),
                "threshold": np.minimum(self.threshold, np.finfo(np.float32).max).tolist(),
                "leaf": self.leaf.tolist()}  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any], features: int) -> Trees:
        """Reads what ``to_json`` gave; it is untrusted.

        Raises:
            UsageError: it is malformed.
        """
        try:
            found = cls(
                float(data["base"]),
                np.array(data["feature"], dtype=np.int64).reshape(-1, _INNER),
                np.array(data["threshold"], dtype=np.float32).reshape(-1, _INNER),
                np.array(data["leaf"], dtype=np.float64).reshape(-1, _LEAVES),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"a saved predictor's trees are malformed ({error}): fit again"
            ) from None
        sizes = {len(found.feature), len(found.threshold), len(found.leaf)}
        inside = ((found.feature >= 0) & (found.feature < features)).all()
        if len(sizes) > 1 or not inside or not np.isfinite(found.leaf).all():
            raise UsageError("a saved predictor's trees do not fit together: fit again")
        return found


def grow(x: Floats, y: Floats, random_state: int, trees: int = 120) -> Trees:
    """Boosted trees for targets ``y``, shape (n,), of rows ``x``, shape (n, features)."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=trees, max_depth=_DEPTH, learning_rate=0.08, subsample=0.7,
        min_samples_leaf=max(2, len(y) // 60), random_state=random_state,
    ).fit(x, y)  # fmt: skip
    feature = np.zeros((trees, _INNER), np.int64)
    threshold = np.full((trees, _INNER), np.inf, np.float32)
    leaf = np.zeros((trees, _LEAVES))
    for index, estimator in enumerate(model.estimators_[:, 0]):
        _complete(estimator.tree_, 0, 0, feature[index], threshold[index], leaf[index])
    base = float(model.init_.constant_.reshape(-1)[0])
    return Trees(base, feature, threshold, model.learning_rate * leaf)


def _complete(tree: Any, node: int, place: int, feature: Any, threshold: Any, leaf: Any) -> None:
    """Copies a tree into complete form: what ends early sends everything to its leftmost leaf."""
    if place >= _INNER:
        leaf[place - _INNER] = tree.value[node].reshape(-1)[0]
        return
    if tree.children_left[node] < 0:
        _complete(tree, node, 2 * place + 1, feature, threshold, leaf)
        return
    feature[place] = tree.feature[node]
    # Rows are float32: the largest float32 below the limit separates them alike.
    limit = np.float32(tree.threshold[node])
    below = float(limit) <= tree.threshold[node]
    threshold[place] = limit if below else np.nextafter(limit, np.float32(-np.inf))
    _complete(tree, tree.children_left[node], 2 * place + 1, feature, threshold, leaf)
    _complete(tree, tree.children_right[node], 2 * place + 2, feature, threshold, leaf)
