"""Hostile and malformed models: one clear line each. The benchmark runs all 500."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lwprof.errors import ModelError
from lwprof.profiler.graph import read

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load_samples():
    spec = importlib.util.spec_from_file_location(
        "hostile_samples", BENCHMARKS / "hostile_samples.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_forty_hostile_models_are_refused_in_one_line(tmp_path):
    kinds = set()
    for sample in load_samples().samples(tmp_path, 40, seed=7):
        with pytest.raises(ModelError) as caught:
            read(sample.path)
        text = str(caught.value)
        assert text.isprintable(), sample
        assert 10 < len(text) < 700, sample
        kinds.add(sample.kind)
    assert len(kinds) == 32


def test_flipped_bytes_are_read_or_refused(tmp_path):
    outcomes = set()
    for sample in load_samples().flipped(tmp_path, 40, seed=3):
        try:
            read(sample.path)
            outcomes.add("read")
        except ModelError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_sixty_five_bytes_that_ask_for_gigabytes_are_refused(graph_of):
    with pytest.raises(ModelError, match=r"'y' would take 32 GiB"):
        graph_of("() => (float[N] y)", "y = ConstantOfShape(s)",
                 weights="<int64[1] s = {8589934592}>")  # fmt: skip


def test_a_hidden_giant_is_refused(graph_of):
    body = "big = ConstantOfShape(s)\ny = ReduceSum<keepdims=0>(big)"
    with pytest.raises(ModelError, match="'big' would take"):
        graph_of("() => (float y)", body, weights="<int64[1] s = {8589934592}>")


def test_convolution_weights_for_other_channels_are_refused(graph_of):
    with pytest.raises(ModelError, match="input of 3 channels"):
        graph_of("(float[1,3,8,8] x, float[4,5,3,3] w) => (float[1,4,6,6] y)", "y = Conv(x, w)")


def test_names_from_the_file_cannot_draw_on_the_terminal(graph_of, parse):
    model = parse("(float[2] x) => (float[2] y)", "y = Relu(x)")
    model.graph.node[0].name = "\x1b[2Jpwned\nlwprof: fine"
    model.graph.node[0].input[0] = "gone"
    with pytest.raises(ModelError) as caught:
        read(model)
    assert str(caught.value).isprintable()
