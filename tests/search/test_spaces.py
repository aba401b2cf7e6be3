"""Spaces: published spellings, liveness by brute force, counts, variation."""

import itertools

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors.space import Space
from lwprof.search import space
from lwprof.search.spaces import names
from lwprof.search.spaces.nasbench201 import EDGES

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"


@pytest.mark.parametrize("name", names())
def test_every_space_keeps_its_contract(name: str) -> None:
    found, rng = space(name), np.random.default_rng(0)
    assert isinstance(found, Space)
    codes = found.sample(50, rng)
    assert (found.encode(found.decode(codes)) == codes).all()
    changed = found.mutate(codes, rng, 0.2)
    assert (changed != codes).any(axis=1).all()
    assert (found.check(changed) == changed).all()
    child = found.cross_over(codes, changed, rng)
    assert ((child == codes) | (child == changed)).all()
    near = found.neighbours(codes[:1])
    assert len(near) == sum(c - 1 for c in found.choices)
    assert ((near != codes[0]).sum(axis=1) == 1).all()
    assert len(np.unique(near, axis=0)) == len(near)
    for rewrite in found.rewrites:
        assert (found.counts(codes, rewrite).values >= 0).all()
        live = found.live(codes, rewrite)
        assert (found.live(live, rewrite) == live).all()


def test_nasbench201_reads_strings_and_digits() -> None:
    cells = space("nasbench201")
    assert cells.encode([CELL, "301024", 301024]).tolist() == [[3, 0, 1, 0, 2, 4]] * 3
    assert cells.decode(cells.encode(["301024"])) == [CELL]
    assert len(np.unique(cells.all_codes(), axis=0)) == cells.count() == 15625


def test_published_macs_and_unconnected_networks() -> None:
    cells = space("nasbench201")
    assert cells.mmacs(cells.encode(["333333"]))[0] == pytest.approx(220.12, abs=0.01)
    assert (~cells.connected(cells.all_codes())).sum() == 341


def test_liveness_agrees_with_walking_every_path() -> None:
    cells = space("nasbench201")
    codes = cells.sample(300, np.random.default_rng(1))
    paths = [
        edges for k in (1, 2, 3) for edges in itertools.permutations(range(6), k)
        if EDGES[edges[-1]][1] == 3
        and all(EDGES[a][1] == EDGES[b][0] for a, b in itertools.pairwise(edges))
    ]  # fmt: skip
    for code, bwd, both in zip(codes, cells.live(codes, "bwd"), cells.live(codes, "both"),
                               strict=True):  # fmt: skip
        running = [p for p in paths if all(code[e] for e in p)]
        # An edge runs if it lies on a live path to the output (its own operator not none).
        needed = {e for p in running for e in p}
        assert {e for e in range(6) if bwd[e]} == needed
        whole = {e for p in running if EDGES[p[0]][0] == 0 for e in p}
        assert {e for e in range(6) if both[e]} == whole


def test_fbnet_macs_of_a_layer_by_hand() -> None:
    nets = space("fbnet")
    skip = nets.encode(["8" * 22])
    first = nets.encode(["0" + "8" * 21])  # k3_e1 on 16 channels at 32 × 32
    difference = nets.mmacs(first)[0] - nets.mmacs(skip)[0]
    assert difference == pytest.approx((16 * 16 * 2 + 16 * 9) * 1024 / 1e6)
    assert nets.encode(["k3_e1 " + "skip " * 21]).tolist() == first.tolist()


def test_once_for_all_depths_decide_what_counts() -> None:
    nets = space("ofa_mobilenet_v3")
    shallow = nets.encode([(224, "22222", "3" * 20, "3" * 20)])
    other = shallow.copy()
    other[0, 6 + 3] = 2  # kernel of a fourth layer that is not there
    assert (nets.live(other, "none") == shallow).all()
    assert (nets.counts(other, "none").values == nets.counts(shallow, "none").values).all()


def test_built_networks_have_the_counted_macs() -> None:
    from lwprof.profiler.graph import read

    cells = space("nasbench201")
    code = cells.encode(["321340"])
    built = read(cells.build("321340"))
    assert built.macs == pytest.approx(cells.mmacs(code)[0] * 1e6, rel=2e-3)


@pytest.mark.parametrize("wrong", ["30102", "301025", "|nor_conv_5x5~0|", None, 3.5])
def test_no_architecture_is_named(wrong: object) -> None:
    with pytest.raises(UsageError, match="number 1.*is no architecture of nasbench201"):
        space("nasbench201").encode(["333333", wrong])


def test_wrong_codes_are_named() -> None:
    cells = space("nasbench201")
    with pytest.raises(UsageError, match="choice 5 in block 2"):
        cells.check(np.array([[0, 0, 5, 0, 0, 0]]))
    with pytest.raises(UsageError, match=r"shape \(n, 6\)"):
        cells.check(np.zeros((3, 6)))
    with pytest.raises(UsageError, match="no search space is called 'nasbench'"):
        space("nasbench")
    with pytest.raises(UsageError, match="too many to list"):
        space("fbnet").all_codes()
