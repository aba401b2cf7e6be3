"""Morphisms: outputs equal before and after, for random inputs, in ONNX Runtime."""

import numpy as np
import pytest

import lwprof
from lwprof.errors import UsageError
from lwprof.search.morphism import deepen, widen
from lwprof.zoo import draw


def network(net: object) -> object:
    from lwprof.zoo.blocks import classifier, conv_bn, depthwise

    x = conv_bn(net, net.image(), 12, 3, 2)  # type: ignore[attr-defined, arg-type]
    x = depthwise(net, conv_bn(net, x, 24, 1), 3)  # type: ignore[arg-type]
    return classifier(net, conv_bn(net, x, 16, 3))  # type: ignore[arg-type]


def answers(model: object) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())  # type: ignore[attr-defined]
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    return np.asarray(session.run(None, {"input": x})[0])


@pytest.fixture(scope="module")
def model() -> object:
    return draw(network, resolution=32, classes=7)


def test_widening_any_convolution_keeps_the_outputs(model: object) -> None:
    before = answers(model)
    convs = [n for n in model.graph.node if n.op_type == "Conv"]  # type: ignore[attr-defined]
    plain = [n.name for n in convs if not any(a.name == "group" and a.i > 1 for a in n.attribute)]
    assert len(plain) == 3
    for name in plain:
        wider = widen(model, name, 40)
        assert lwprof.inspect(wider).params > lwprof.inspect(model).params
        assert answers(wider) == pytest.approx(before, abs=1e-5)
    twice = widen(widen(model, plain[0], 20), plain[1], 30)
    assert answers(twice) == pytest.approx(before, abs=1e-5)


def test_deepening_keeps_the_outputs(model: object) -> None:
    before = answers(model)
    for node in [n.name for n in model.graph.node if n.op_type == "Relu"]:  # type: ignore[attr-defined]
        for kernel in (1, 3, 5):
            deeper = deepen(model, node, kernel)
            assert len(deeper.graph.node) == len(model.graph.node) + 2  # type: ignore[attr-defined]
            assert answers(deeper) == pytest.approx(before, abs=1e-6)


def test_what_cannot_be_kept_equal_is_refused(model: object) -> None:
    with pytest.raises(UsageError, match="is pruning"):
        widen(model, next(n.name for n in model.graph.node if n.op_type == "Conv"), 2)  # type: ignore
    with pytest.raises(UsageError, match="no node called"):
        widen(model, "nothing", 64)  # type: ignore[arg-type]
    residual = lwprof.zoo.build("mobilenet_v2", resolution=64)
    added = next(n for n in residual.graph.node if n.op_type == "Add")
    last = next(n for n in reversed(residual.graph.node) if added.input[1] in n.output)
    conv = next(n for n in residual.graph.node if last.input[0] in n.output)
    with pytest.raises(UsageError, match="does not reach through"):
        widen(residual, conv.name, 400)
