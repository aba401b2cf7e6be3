"""Spaces beyond the published tables: graphs of every one, liveness, memory, one's own."""

from pathlib import Path

import numpy as np
import pytest

import lwprof
from lwprof.errors import UsageError
from lwprof.profiler.graph import read
from lwprof.search import space
from lwprof.search.spaces.hierarchical import CELL_EDGES, on_a_path
from lwprof.search.spaces.options import OptionSpace

DRAWN = ("chain", "chain_residual", "darts", "hierarchical", "mnasnet", "nasnet", "proxylessnas",
         "tinynas")  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_architectures_become_networks_that_run(name: str) -> None:
    import onnxruntime

    found = space(name)
    codes = found.sample(2, np.random.default_rng(3))
    for text in found.decode(codes):
        model = found.build(text)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        given = session.get_inputs()[0]
        out = session.run(None, {given.name: np.ones(given.shape, dtype=np.float32)})[0]
        assert out.shape == (1, 10 if given.shape[2] == 32 else 1000) and np.isfinite(out).all()
    different = found.mutate(codes, np.random.default_rng(1), 0.5)
    assert found.build(found.decode(different)[0]) != found.build(found.decode(codes)[0])


def test_counts_of_spaces_are_products_of_their_options() -> None:
    assert space("proxylessnas").count() == 6**6 * 7**15
    assert space("mnasnet").count() == (4 * 2 * 2 * 3 * 3 * 3) ** 7
    assert space("hierarchical").count() == 7**36 * 7**10
    assert space("darts").count() == (7**8 * 1 * 3 * 6 * 10) ** 2
    assert space("tinynas").count() == 108 * 3**5 * 9**21


def test_paths_agree_with_walking_them() -> None:
    rng = np.random.default_rng(0)
    kept = rng.random((200, len(CELL_EDGES))) < 0.4
    for row, answer in zip(kept, on_a_path(kept, CELL_EDGES, 5), strict=True):
        expected = set()

        def walk(
            node: int, path: tuple[int, ...], row: object = row, found: set[int] = expected
        ) -> None:
            if node == 4:
                found.update(path)
            for i, (tail, head) in enumerate(CELL_EDGES):
                if tail == node and row[i]:  # type: ignore[index]
                    walk(head, (*path, i))

        walk(0, ())
        assert set(np.flatnonzero(answer)) == expected


@pytest.mark.parametrize("name", ["hierarchical", "chain_residual", "tinynas"])
def test_dead_choices_do_not_change_the_network(name: str) -> None:
    found = space(name)
    codes = found.sample(3, np.random.default_rng(5))
    live = found.live(codes, found.rewrites[-1])
    for a, b in zip(found.decode(codes), found.decode(live), strict=True):
        assert found.build(a) == found.build(b)


def test_footprints_are_those_of_the_graphs() -> None:
    found = space("tinynas")
    codes = found.sample(6, np.random.default_rng(2))
    codes[0, :2] = 0  # the narrowest: stem and first layer have the same channels
    guess = found.footprint(codes)  # type: ignore[attr-defined]
    for i, text in enumerate(found.decode(codes)):
        graph = read(found.build(text))
        inspected = lwprof.inspect(found.build(text))
        assert guess.macs[i] == inspected.macs
        assert guess.peak_memory_bytes[i] == graph.peak_memory_inplace_bytes / 4
        assert guess.flash_bytes[i] >= inspected.params
    assert len(np.unique(guess.macs)) == len(codes)


BLOCKS = {"kernel": (3, 5), "width": (8, 16, 24)}
SMALL = {"resolution": 32}


class Mine(OptionSpace):
    name = "mine"
    blocks = BLOCKS
    drawing = SMALL

    def draw(self, net: object, **values: int) -> object:
        from lwprof.zoo.blocks import classifier, conv_bn

        return classifier(net, conv_bn(net, net.image(), values["width"], values["kernel"]))  # type: ignore


def test_a_class_of_few_lines_is_a_space(tmp_path: Path) -> None:
    mine = Mine()
    assert mine.encode(["kernel=5 width=16", {"kernel": 3, "width": 24}, (0, 0)]).tolist() == [
        [1, 1], [0, 2], [0, 0],
    ]  # fmt: skip
    model = mine.build("kernel=5 width=16")
    assert lwprof.inspect(model).macs == 32 * 32 * 3 * 25 * 16 + 16 * 1000
    with pytest.raises(UsageError, match="write it as kernel=3"):
        mine.encode(["kernel=7 width=8"])
    script = tmp_path / "own.py"
    script.write_text(
        "from lwprof.search.spaces.options import OptionSpace\n"
        "class Two(OptionSpace):\n    name = 'two'\n    blocks = {'a': (1, 2)}\n"
    )
    assert space(f"{script}:Two").count() == 2
    with pytest.raises(UsageError, match="cannot build networks"):
        space(f"{script}:Two").build("a=1")
    with pytest.raises(UsageError, match="nothing called"):
        space(f"{script}:Three")


def test_a_table_is_a_space_with_its_costs(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "block,choice,latency_s,merit\nbase,,0.5,60\na,small,0.1,0\na,large,0.4,3\nb,on,0.2,1\n"
        "b,off,0.0,0\n"
    )
    mine = space(str(path))
    codes = mine.encode(["large off", "small on"])
    assert mine.table.predict(codes)[:, 0] == pytest.approx([0.9, 0.8])  # type: ignore[attr-defined]
    assert mine.merit(codes) == pytest.approx([63, 61])  # type: ignore[attr-defined]
    path.write_text("block,choice,latency_s\na,small,fast\n")
    with pytest.raises(UsageError, match="line 2"):
        space(str(path))
