"""The digits search: its networks in ONNX answer as they do in PyTorch, also when trained."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def test_a_trained_network_answers_alike_in_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples" / "digits"))
    try:
        import space as drawn
        import training

        data, cells = training.digits(), drawn.Digits()
        code = cells.sample(1, np.random.default_rng(3))[0]
        torch.manual_seed(0)
        module = training.train(cells.module(code), data.train, 4, 1)
        session = onnxruntime.InferenceSession(drawn.to_onnx(module).SerializeToString())
        for image in data.test[0][:3]:
            said = session.run(None, {"image": image[None].numpy()})[0]
            with torch.no_grad():
                np.testing.assert_allclose(said, module(image[None]).numpy(), rtol=1e-3, atol=1e-4)
        assert training.accuracy(module, data.held_out) > 50
    finally:
        for name in ("space", "training"):
            sys.modules.pop(name, None)
