"""The synthetic chains give back the overhead that was planted in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwprof.profiler.session import chains


@given(
    call=st.floats(1e-6, 50e-6),
    gap=st.floats(1e-7, 5e-6),
    bias=st.floats(1e-6, 10e-6),
    per_input=st.floats(0, 2e-6),
    wide_work=st.floats(0, 3e-6),
)
def test_planted_overhead_is_recovered(
    call: float, gap: float, bias: float, per_input: float, wide_work: float
) -> None:
    plain = {
        chains.SHORT: np.full(20, call + 8 * gap),
        chains.LONG: np.full(20, call + 64 * gap),
        chains.WIDE: np.full(20, call + 64 * (gap + wide_work)),
    }
    reported = {
        chains.SHORT: np.full((20, 8), bias),
        chains.LONG: np.full((20, 64), bias),
        chains.WIDE: np.full((20, 64), bias + 2 * per_input + wide_work),
    }
    found = chains.overhead(plain, reported)
    assert found.call_s == pytest.approx(call, abs=1e-12)
    assert found.gap_s == pytest.approx(gap, abs=1e-12)
    assert found.profiler_s == pytest.approx(bias, abs=1e-12)
    assert found.profiler_per_input_s == pytest.approx(per_input, abs=1e-12)
    bias_of = found.profiler_bias_s(np.array([0, 1, 3]))
    assert bias_of == pytest.approx([bias, bias, bias + 2 * per_input], abs=1e-12)
    assert found.gap_total_s(100) == pytest.approx(call + 100 * gap)


def test_a_slow_iteration_does_not_move_the_overhead() -> None:
    plain = {chains.SHORT: np.full(20, 18e-6), chains.LONG: np.full(20, 74e-6),
             chains.WIDE: np.full(20, 74e-6)}  # fmt: skip
    reported = {name: np.full((20, 64), 5e-6) for name in plain}
    calm = chains.overhead(plain, reported)
    plain[chains.LONG] = plain[chains.LONG].copy()
    plain[chains.LONG][3] = 5e-3  # preempted once
    assert chains.overhead(plain, reported) == calm


@pytest.mark.parametrize("name", [chains.SHORT, chains.LONG, chains.WIDE])
def test_a_chain_survives_the_runtime_unmerged(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "out.onnx")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    ort.InferenceSession(chains.chain_model(name), options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "out.onnx")
    before = onnx.load_model_from_string(chains.chain_model(name))
    assert len(optimised.graph.node) == len(before.graph.node)
