"""Fine-tuning of an ONNX network's stored weights (torch extra)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lwprof.compression.distillation.losses import hinton
from lwprof.compression.distillation.torch_graph import TorchGraph

Loss = Callable[[Any, Any, Any], Any]
"""(student's values by name, classes, indices of the samples) → loss."""

Augment = Callable[[Any, Any], Any]
"""(batch, generator) → batch."""


def finetune(
    model: Any, inputs: Any, labels: Any, *, epochs: int = 10, rate: float = 1e-3,
    batch: int = 64, seed: int = 0, teacher: Any = None, loss: Loss | None = None,
    keep_zeros: bool = True, decay: float = 1e-4, augment: Augment | None = None,
) -> Any:  # fmt: skip
    """Trains a network with one input and one output of class scores; Adam, cosine schedule.

    Args:
        model: the network; its batch extent does not matter.
        inputs: (n, …) of float32.
        labels: (n,) of classes.
        teacher: a network whose scores are learned too (Hinton's loss); None: labels alone.
        loss: in place of the built-in ones.
        augment: changes a batch before it is learned.
        keep_zeros: weights that are nought stay so, so that a pruned network stays pruned.

    Returns:
        an ``onnx.ModelProto`` with the new weights.

    Raises:
        MissingExtra: PyTorch is not installed.
        ModelError: an operator that cannot be trained through.
    """
    network = TorchGraph(model)
    x, y = torch.from_numpy(np.asarray(inputs, np.float32)), torch.from_numpy(np.asarray(labels))
    guide = None if teacher is None else TorchGraph(teacher)
    parameters = list(network.parameters())
    alive = [(p != 0).float() if keep_zeros and p.ndim > 1 else None for p in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for index in torch.randperm(len(x), generator=order).split(batch):
            seen = x[index] if augment is None else augment(x[index], order)
            values = network.values({network.inputs[0]: seen})
            made = values[network.outputs[0]]
            if loss is not None:
                value = loss(values, y[index], index)
            elif guide is not None:
                with torch.no_grad():
                    soft = guide(seen)
                value = hinton(made, soft, y[index], temperature=2.0, alpha=0.7)
            else:
                value = functional.cross_entropy(made, y[index])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for parameter, mask in zip(parameters, alive, strict=True):
                    if mask is not None:
                        parameter.mul_(mask)
    return network.to_onnx()


def scores(model: Any, inputs: Any) -> Any:
    """Class scores of a network, (n, classes) of float32."""
    with torch.no_grad():
        return TorchGraph(model)(torch.from_numpy(np.asarray(inputs, np.float32))).numpy()


def accuracy(model: Any, inputs: Any, labels: Any) -> float:
    """Share of samples whose largest score is their class."""
    return float((scores(model, inputs).argmax(1) == np.asarray(labels)).mean())
