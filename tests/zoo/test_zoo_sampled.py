"""Networks drawn at random are the same everywhere, and run."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lwprof import zoo
from lwprof.errors import UsageError
from lwprof.profiler.graph import read


@pytest.mark.parametrize("number", [1, 6, 20, 22])
def test_a_sampled_network_is_valid_and_finite(number: int) -> None:
    model = zoo.build(f"sampled_{number}")
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    data = np.random.default_rng(0).standard_normal(given.shape).astype(np.float32)
    assert np.isfinite(session.run(None, {given.name: data})[0]).all()


def test_numbers_stand_for_the_same_network_everywhere() -> None:
    assert read("sampled_22").sha256 == read("sampled_22").sha256
    assert read("sampled_22").sha256 != read("sampled_1").sha256
    first = [int(read(f"sampled_{n}").macs or 0) for n in (1, 6, 20, 22)]
    assert first == [43365728, 190590928, 171635888, 113268032], "drawn as ever"


def test_sampled_needs_a_number() -> None:
    with pytest.raises(UsageError, match="no zoo network is called 'sampled_x'"):
        zoo.build("sampled_x")
    assert not any(zoo.is_sampled(name) for name in zoo.list())
