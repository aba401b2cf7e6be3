"""float16 and int8: sizes, errors, refusals, and kernels that the profiler can tell apart."""

from __future__ import annotations

from typing import Any

import pytest
from compression_models import Small

from lwprof import zoo
from lwprof.compression.quantisation import precision
from lwprof.compression.running import output_error
from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import kernels_on_host


@pytest.mark.parametrize(
    ("transform", "share", "error"),
    [(precision.FLOAT16, 0.5, 0.01), (precision.INT8_DYNAMIC, 0.26, 0.1),
     (precision.INT8_STATIC, 0.26, 0.1), (precision.INT8_STATIC_CHANNELS, 0.28, 0.1)],
    ids=lambda value: getattr(value, "id", ""),
)  # fmt: skip
def test_fewer_bits_take_fewer_bytes_and_move_the_outputs_little(
    transform: Any, share: float, error: float
) -> None:
    model = zoo.build("squeezenet1_1", resolution=64)
    done = transform.apply(model)
    before, after = read(model), read(done.model)
    assert after.macs == before.macs
    assert 0.95 * share * before.size_bytes < after.size_bytes < 1.2 * share * before.size_bytes
    assert 0 < output_error(model, done.model) < error


def test_int8_mobilenet_v1_lands_at_four_to_five_megabytes() -> None:
    done = precision.INT8_STATIC.apply(zoo.build("mobilenet_v1", resolution=32))
    assert 4e6 < read(done.model).size_bytes < 5e6


def test_scales_per_channel_are_the_more_exact_ones_where_channels_differ() -> None:
    net = Small((1, 8, 10, 10))
    weight = net.random.normal(size=(16, 8, 3, 3)) * 10.0 ** -net.random.uniform(
        0, 3, (16, 1, 1, 1)
    )
    wide = net.op("Conv", "x", net.keep(weight), pads=[1] * 4)
    model = net.model(net.op("Relu", net.norm(wide, 16)))
    errors = [output_error(model, t.apply(model).model)
              for t in (precision.INT8_STATIC, precision.INT8_STATIC_CHANNELS)]  # fmt: skip
    assert errors[1] < errors[0]


def test_a_quantised_model_is_not_quantised_again() -> None:
    model = zoo.build("lenet5")
    once = precision.INT8_STATIC.apply(model)
    twice = precision.INT8_STATIC.apply(once.model)
    assert not twice.applied and "float32" in twice.reason


def test_kernels_of_a_quantised_network_with_concats_are_known() -> None:
    done = precision.INT8_STATIC.apply(zoo.build("squeezenet1_1", resolution=64))
    kernels = kernels_on_host(read(done.model))
    joins = [k for k in kernels if any("Concat" in op for op in k.workload.op_types)]
    assert len(joins) == 8
    assert all(None not in shape for k in joins for shape in _shapes(k.workload.description))


def _shapes(description: Any) -> list[Any]:
    return [value["shape"] for value in description["inputs"] if value.get("shape") is not None]
