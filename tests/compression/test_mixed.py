"""Mixed precision quantises exactly the layers that the cost model calls faster."""

from __future__ import annotations

from typing import Any

from compression_models import Small

from lwprof.compression.quantisation.mixed import MIXED_PRECISION
from lwprof.compression.running import output_error
from lwprof.compression.transform import Given
from lwprof.profiler.graph import read


def _model() -> Any:
    net = Small((1, 8, 10, 10))
    wide = net.op("Relu", net.conv("x", 64, 8))
    return net.model(net.conv(wide, 8, 64, 1))


def test_only_layers_that_gain_are_quantised() -> None:
    def price(model: Any) -> float:
        """int8 halves the 3×3 and doubles the 1×1."""
        graph = read(model)
        quantised = any(op.type == "QuantizeLinear" for op in graph.operators)
        large = max(t.elements or 0 for t in graph.tensors.values() if t.constant) > 1000
        return 1.0 if not quantised else 0.5 if large else 2.0

    model = _model()
    done = MIXED_PRECISION.apply(model, Given(price=price))
    assert done.changed == ("conv0",)
    assert list(done.refused) == ["conv2"] and "no faster" in done.refused["conv2"]
    assert 0 < output_error(model, done.model) < 0.1


def test_without_a_cost_model_it_is_refused() -> None:
    assert "cost model" in MIXED_PRECISION.apply(_model()).reason
