"""Trees kept as arrays: against scikit-learn's own, a brute-force answer, and planted jumps."""

import json

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from lwprof.predictors import KernelRegressor
from lwprof.predictors.trees import Trees, grow, left_out
from lwprof.profiler.kernels import workload


def _jumping(n=300, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (n, 4))
    return x, np.where(x[:, 0] > 0.5, 2.0, -1.0) + 0.3 * (x[:, 1] > 0) + 0.01 * rng.normal(size=n)


def test_the_votes_are_those_of_scikit_learn():
    x, y = _jumping()
    found = grow(x, y, random_state=5, trees=20)
    model = ExtraTreesRegressor(20, random_state=5).fit(x.astype(np.float32), y)
    new = np.random.default_rng(1).uniform(-4, 4, (200, 4))
    wanted = np.column_stack([tree.predict(new.astype(np.float32)) for tree in model.estimators_])
    np.testing.assert_allclose(found.votes(new), wanted, atol=1e-6)
    # Rows that stand exactly on a limit go the same way, too.
    np.testing.assert_allclose(
        found.votes(x),
        np.column_stack([tree.predict(x.astype(np.float32)) for tree in model.estimators_]),
        atol=1e-6,
    )


def test_the_answer_has_the_least_expected_relative_error():
    x, y = _jumping()
    found = grow(x, y, random_state=0, trees=15)
    new = np.random.default_rng(2).uniform(-3, 3, (40, 4))
    votes = np.exp(found.votes(new))
    for row, answer in zip(votes, np.exp(found.predict_log(new)), strict=True):
        risk = [np.abs(candidate / row - 1).mean() for candidate in row]
        assert np.abs(answer / row - 1).mean() == pytest.approx(min(risk), rel=1e-9)


def test_left_out_errors_are_not_those_of_trees_that_saw_the_sample():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.normal(size=200)
    seen = grow(x, y, 0, 20).predict_log(x) - y
    assert np.abs(seen).mean() < 0.05
    assert np.abs(left_out(x, y, 0, trees=20)).mean() > 0.5


def test_what_is_saved_answers_alike_and_what_is_tampered_with_is_refused():
    x, y = _jumping()
    found = grow(x, y, 0, 5)
    entry = json.loads(json.dumps(found.to_json()))
    np.testing.assert_array_equal(Trees.from_json(entry, 4).votes(x), found.votes(x))
    with pytest.raises(ValueError, match="do not fit together"):
        Trees.from_json(entry, 2)
    with pytest.raises(ValueError):
        Trees.from_json(dict(entry, left=entry["right"], right=entry["value"]), 4)
    circle = np.zeros(len(found.left), "<i4")
    with pytest.raises(ValueError, match="do not fit together"):
        Trees.from_json(dict(entry, left=Trees.to_json(_with(found, left=circle))["left"]), 4)


def _with(trees, **changed):
    names = ("feature", "threshold", "left", "right", "value", "roots")
    return Trees(**{name: changed.get(name, getattr(trees, name)) for name in names})


def test_a_regressor_takes_trees_where_costs_jump_at_random_and_not_where_they_are_smooth(tmp_path):
    rng = np.random.default_rng(7)
    works, smooth, jumping = [], [], []
    for _ in range(240):
        cin, cout = (int(c) for c in rng.integers(4, 256, 2))
        size = 2 * int(rng.integers(4, 28))
        works.append(
            workload("Conv", inputs=[(1, cin, size, size), (cout, cin, 3, 3)],
                     attributes={"pads": [1, 1, 1, 1], "strides": [1, 1]})
        )  # fmt: skip
        macs = cin * cout * 9 * size**2
        smooth.append(1e-5 + macs * 1e-10)
        # A planted change of algorithm: four times slower above 128 channels of either kind.
        slow = 4 if (cin > 128) != (cout > 128) else 1
        jumping.append((1e-5 + macs * 1e-10) * slow * float(np.exp(0.02 * rng.normal())))
    works_, first = zip(*{w.key: (w, i) for i, w in enumerate(works)}.values(), strict=True)
    works, rows = list(works_), list(first)
    plain = KernelRegressor(0).fit(works, np.array(smooth)[rows])
    assert not plain._trees
    assert np.median(np.abs(plain.left_out_)) < 0.01
    found = KernelRegressor(0).fit(works, np.array(jumping)[rows])
    without = KernelRegressor(0, trees=0).fit(works, np.array(jumping)[rows])
    assert set(found._trees) == {"dense"}
    near, without_near = (np.mean(np.abs(m.left_out_) < 0.1) for m in (found, without))
    assert near > without_near + 0.1
    found.save(tmp_path / "m.json")
    loaded = KernelRegressor.load(tmp_path / "m.json")
    np.testing.assert_array_equal(loaded.predict(works), found.predict(works))


def test_an_operator_without_products_has_a_rate_of_its_own():
    """A power per element costs a hundred copies; neither is averaged with the other."""
    works, costs = [], []
    for op, each in (("LRN", 4e-8), ("Relu", 3e-10), ("Sigmoid", 2e-9)):
        for channels in (8, 24, 40, 64, 96, 136, 200, 256, 320, 400):
            for size in (7, 28):
                shape = (1, channels, size, size)
                given = {"size": 5} if op == "LRN" else {}
                works.append(workload(op, inputs=[shape], attributes=given))
                costs.append(2e-6 + each * channels * size**2)
    far = [workload("LRN", inputs=[(1, 500, 56, 56)], attributes={"size": 5}),
           workload("Relu", inputs=[(1, 500, 56, 56)], attributes={})]  # fmt: skip
    found = KernelRegressor(0).fit(works, costs).predict(far)
    np.testing.assert_allclose(found, [2e-6 + 4e-8 * 1_568_000, 2e-6 + 3e-10 * 1_568_000], rtol=0.1)
