"""PyTorch modules become the networks that they run at inference."""

import numpy as np
import onnxruntime
import pytest

import lwprof
from lwprof.errors import ModelError

torch = pytest.importorskip("torch")


class Two(torch.nn.Module):
    """A module of two inputs, with parts that behave differently in training."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
            torch.nn.Dropout(0.5),
        )  # fmt: skip
        self.head = torch.nn.Linear(8, 10)

    def forward(self, image, scale):
        return self.head((self.layers(image) * scale).mean(dim=(2, 3)))


def run(model, *arrays):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


@pytest.mark.parametrize("keywords", [False, True])
def test_the_exported_network_computes_the_same(keywords):
    module = Two().train()
    module.layers[0].eval()
    image, scale = torch.randn(2, 3, 8, 8), torch.rand(1)
    given = {"image": image, "scale": scale} if keywords else (image, scale)
    model = lwprof.from_torch(module, given)
    assert (module.training, module.layers[0].training) == (True, False), "left as it came"
    with torch.no_grad():
        truth = module.eval()(image, scale).numpy()
    np.testing.assert_allclose(run(model, image.numpy(), scale.numpy()), truth, atol=1e-5)
    [inspected] = lwprof.inspect(model).models
    assert inspected.macs >= 2 * 8 * 64 * 27


def test_what_cannot_be_exported_is_refused_in_one_line():
    with pytest.raises(ModelError, match="check that the module runs"):
        lwprof.from_torch(Two(), torch.randn(1, 3, 8, 8))
    with pytest.raises(ModelError, match="not int"):
        lwprof.from_torch(3, torch.randn(1))
