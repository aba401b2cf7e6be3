"""The conformance suite finds every broken promise, and none where all are kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from lwprof import zoo
from lwprof.errors import CostMiss, ModelError, UsageError
from lwprof.predictors.accelerator import AcceleratorCostModel
from lwprof.predictors.conformance import check


class Sound:
    """Stand-in cost model (environment: synthetic): a network costs the length of its name."""

    quantities = ("latency_s",)

    def predict(self, models):
        models = [models] if isinstance(models, str) else models
        if any(name.endswith(".onnx") for name in models):
            raise ModelError("no such file")
        if any(name == "unknown" for name in models):
            raise CostMiss("unknown was never measured", ("w1:0",))
        mean = np.array([[float(len(name))] for name in models])
        return SimpleNamespace(mean=mean, low=mean * 0.9, high=mean * 1.1, quantities=("latency_s",),
                               source=np.full(mean.shape, "measured"))  # fmt: skip

    def quantile(self, models, level):
        if not 0.5 <= level < 1:
            raise UsageError("level")
        return self.predict(models).mean * (0.5 + level)

    def explain(self, model):
        part = SimpleNamespace(value=len(model) - 1.0, at_most=False)
        gap = SimpleNamespace(value=1.0, at_most=False)
        return SimpleNamespace(kernels=[SimpleNamespace(latency_s=part)], gap_s=gap)


def changed(**answers):
    class Changed(Sound):
        def predict(self, models):
            found = super().predict(models)
            for name, change in answers.items():
                setattr(found, name, change(getattr(found, name)))
            return found

    return Changed()


def test_a_sound_model_breaks_nothing():
    assert check(Sound(), ["a", "bcd"], foreign="unknown") == ()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (changed(mean=lambda m: m[:, 0]), "mean has shape"),
        (changed(quantities=lambda q: ("latency_ms",)), "quantities"),
        (changed(low=lambda v: v * 2), "outside its interval"),
        (changed(mean=lambda m: -m), "negative"),
        (changed(source=lambda s: np.full(s.shape, "guessed")), "guessed"),
        (changed(mean=lambda m: m + 0.01 * len(m)), "others in the list"),
        (changed(mean=lambda m: m * 1.05), "add up"),
    ],
)
def test_each_broken_promise_is_named(model, said):
    assert any(said in line for line in check(model, ["a", "bcd"]))


def test_answering_what_is_unknown_is_a_broken_promise():
    assert "extrapolated" in check(Sound(), ["a", "bcd"], foreign="known after all")[0]
    assert "two networks" in check(Sound(), ["a"])[0]


def test_the_simulated_accelerator_keeps_every_promise():
    networks = [zoo.build("squeezenet1_1"), zoo.build("mobilenet_v3_small")]
    assert check(AcceleratorCostModel(), networks) == ()
