"""Input data is what was described, the same everywhere, and never denormal."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from small_models import load, model, script

from lwprof.agents import Agent
from lwprof.agents.program.failures import Failure
from lwprof.agents.program.inputs import Patterns, build, value

REAL = ["float16", "float32", "float64"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def tensor(dtype: str, shape: list[int], **fill: Any) -> Any:
    return value({"kind": "tensor", "dtype": dtype, "shape": shape, "fill": fill}, "x")


SHAPES = st.lists(st.integers(0, 5), max_size=4)
SEEDS = st.integers(0, 2**32)


@given(st.sampled_from([*REAL, "complex64", "complex128"]), SHAPES, SEEDS)
def test_normal_data_has_its_shape_and_no_denormals(
    dtype: str, shape: list[int], seed: int
) -> None:
    array = tensor(dtype, shape, kind="normal", seed=seed)
    assert array.dtype == dtype and array.shape == tuple(shape) and array.flags.c_contiguous
    parts = array.reshape(-1).view(array.real.dtype)
    assert np.isfinite(parts).all()
    assert not ((parts != 0) & (np.abs(parts) < np.finfo(parts.dtype).tiny)).any()


def test_half_precision_denormals_really_occur_without_the_guard() -> None:
    raw = np.random.default_rng(0).standard_normal(10**6, dtype=np.float32).astype(np.float16)
    assert ((raw != 0) & (np.abs(raw) < np.finfo(np.float16).tiny)).any()
    guarded = tensor("float16", [10**6], kind="normal", seed=0)
    assert not ((guarded != 0) & (np.abs(guarded) < np.finfo(np.float16).tiny)).any()


@given(SEEDS, SHAPES)
def test_same_seed_same_data(seed: int, shape: list[int]) -> None:
    first = tensor("float32", shape, kind="uniform", seed=seed)
    np.testing.assert_array_equal(first, tensor("float32", shape, kind="uniform", seed=seed))


def test_another_seed_gives_other_data() -> None:
    a, b = (tensor("float32", [50], kind="normal", seed=seed) for seed in (1, 2))
    assert (a != b).all()


@given(st.sampled_from(INTEGERS), SEEDS, st.integers(-300, 300), st.integers(0, 300))
def test_integers_stay_in_range_high_excluded(dtype: str, seed: int, low: int, width: int) -> None:
    array = tensor(dtype, [40], kind="integers", low=low, high=low + width, seed=seed)
    limits = np.iinfo(dtype)
    first = min(max(low, limits.min), limits.max)
    last = max(first, min(low + width - 1, limits.max))
    assert array.dtype == dtype
    if low + width > limits.min and low <= limits.max:
        assert (array >= first).all() and (array <= last).all()


def test_integers_of_the_widest_types_reach_their_ends() -> None:
    top = tensor("uint64", [200], kind="integers", low=2**63, high=2**64 - 1, seed=0)
    assert (top >= 2**63).all()
    exact = tensor("int64", [2], kind="values", values=[2**63 - 1, -(2**63)])
    assert exact.tolist() == [2**63 - 1, -(2**63)]
    assert tensor("uint64", [1], kind="constant", value=2**64 - 1).tolist() == [2**64 - 1]


def test_uniform_bool_and_constant() -> None:
    uniform = tensor("float32", [1000], kind="uniform", low=-3.0, high=-2.0, seed=0)
    assert (uniform >= -3).all() and (uniform <= -2).all() and uniform.std() > 0.2
    assert set(tensor("bool", [100], kind="bool", seed=0).tolist()) == {True, False}
    assert tensor("bool", [5], kind="constant", value=True).all()
    assert tensor("int32", [2, 2], kind="constant", value=7).tolist() == [[7, 7], [7, 7]]
    assert tensor("int64", [2, 2], kind="values", values=[1, 2, 3, 4]).tolist() == [[1, 2], [3, 4]]
    assert tensor("float32", [], kind="constant", value=1e-40) == 0.0  # denormal


def test_strings() -> None:
    words = tensor("string", [2, 3], kind="strings", seed=0)
    assert words.shape == (2, 3) and all(isinstance(w, str) and w for w in words.reshape(-1))
    assert tensor("string", [2], kind="strings", values=["a", "b"]).tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("dtype", "to_float"),
    [("bfloat16", "bfloat16"), ("float8e4m3fn", "float8_e4m3fn"), ("float8e5m2", "float8_e5m2"),
     ("float8e4m3fnuz", "float8_e4m3fnuz"), ("float8e5m2fnuz", "float8_e5m2fnuz")],
)  # fmt: skip
def test_bit_patterns_are_finite_numbers(dtype: str, to_float: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    made = tensor(dtype, [2000], kind="normal", seed=0)
    assert isinstance(made, Patterns)
    numbers = made.array.view(getattr(ml_dtypes, to_float)).astype(np.float32)
    assert np.isfinite(numbers).all() and np.unique(numbers).size > 20
    assert made.onnx_type == getattr(TensorProto, dtype.upper())


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "kind", "dtype", "shape", "fill", "seed", "low", "high",
                             "items", "item", "values", "value", "keys"]),
            inner | st.sampled_from(["tensor", "float32", "sequence", "normal", "integers"]),
            max_size=5,
        ),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_description_makes_data_or_is_refused(spec: Any) -> None:
    try:
        build(spec)
    except Failure as failure:
        assert failure.kind == "request" and failure.side == "host"


@pytest.mark.parametrize(
    "spec",
    [
        {"dtype": "float32", "shape": [2**40]},
        {"dtype": "float32", "shape": [2**20, 2**20]},
        {"dtype": "float32", "shape": [-1]},
        {"dtype": "float32", "shape": [1.5]},
        {"dtype": "float128", "shape": [1]},
        {"dtype": "float32", "shape": [1], "fill": {"kind": "normal", "seed": -1}},
        {"dtype": "float32", "shape": [1], "fill": {"kind": "uniform", "low": 2, "high": 1}},
        {"dtype": "float32", "shape": [3], "fill": {"kind": "values", "values": [1, 2]}},
        {"dtype": "float32", "shape": [3], "fill": {"kind": "values", "values": ["a"]}},
        {"dtype": "float32"},
        {"kind": "table"},
    ],
)
def test_impossible_descriptions_are_refused_by_name(spec: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="'x'"):
        build([{"name": "x", **spec}])


@pytest.mark.parametrize(
    "dtype",
    [*REAL, *INTEGERS, "bool", "string", "bfloat16", "float8e4m3fn", "float8e5m2", "int4",
     "uint4"],
)  # fmt: skip
def test_the_runtime_takes_every_element_type(agent: Agent, dtype: str) -> None:
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    number = getattr(TensorProto, names.get(dtype, dtype.upper()))
    kind = {"bool": "bool", "string": "strings"}.get(dtype, "integers")
    spec = {"name": "x", "kind": "tensor", "dtype": dtype, "shape": [6], "fill": {"kind": kind}}
    proto = onnx.load_model_from_string(
        model([helper.make_node("Identity", ["x"], ["y"])], {"x": (number, [6])},
              {"y": (number, [6])}, 21)
    )  # fmt: skip
    # A boolean output, so that no type needs to come back through numpy.
    proto.graph.node[0].CopyFrom(helper.make_node("Shape", ["x"], ["y"]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [1]))
    proto.ir_version = 10
    sha = agent.put(proto.SerializeToString())
    record = agent.run_block(script({**load(sha), "inputs": [spec]}))
    assert record.steps[0].outputs[0].shape == [1]


def test_sequences_and_optionals_reach_the_runtime(agent: Agent) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    at = model(
        [helper.make_node("SequenceAt", ["x", "i"], ["y"])],
        {"x": sequence, "i": (TensorProto.INT64, [])},
        {"y": (TensorProto.FLOAT, [None])},
    )
    item = {"kind": "tensor", "dtype": "float32", "fill": {"kind": "normal"}}
    inputs = [
        {"name": "x", "kind": "sequence", "items": [{**item, "shape": [2]}, {**item, "shape": [5]}]},
        {"name": "i", "kind": "tensor", "dtype": "int64", "shape": [],
         "fill": {"kind": "constant", "value": 1}},
    ]  # fmt: skip
    record = agent.run_block(script({**load(agent.put(at)), "inputs": inputs}))
    assert record.steps[0].outputs[0].shape == [5]

    maybe = helper.make_value_info(
        "x", helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    )
    has = model(
        [helper.make_node("OptionalHasElement", ["x"], ["y"])],
        {"x": maybe},
        {"y": (TensorProto.BOOL, [])},
    )
    sha = agent.put(has)
    digests = set()
    for spec in (None, {**item, "shape": [2]}):
        step = {**load(sha), "inputs": [{"name": "x", "kind": "optional", "item": spec}]}
        digests.add(agent.run_block(script({**step, "digest": True})).steps[0].output_sha256)
    assert len(digests) == 2
