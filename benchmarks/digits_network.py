"""The network and the recipe of the pruning benchmarks, frozen before any pruning was tried.

14 k parameters on scikit-learn's 8 × 8 digits: three 3 × 3 convolutions with pooling, two dense
layers. Adam, 60 epochs, cosine schedule, shifts by a pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

CHANNELS = (16, 24, 32)
HIDDEN = 24
EPOCHS, RATE = 60, 4e-3


def shifted(images: Any, generator: Any) -> Any:
    """Augmentation: every image moved by up to one pixel each way, noughts coming in."""
    import torch

    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    crops = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    index = torch.randint(9, (len(images),), generator=generator)
    return crops[index, torch.arange(len(images))]


def network(seed: int, batch: int = 64) -> Any:
    """Seeded He-initialised weights."""
    random = np.random.default_rng(seed)
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes, stored, source, width = [], [], "x", 1
    for i, channels in enumerate(CHANNELS):
        scale = np.sqrt(2 / (9 * width))
        stored.append((f"w{i}", random.normal(size=(channels, width, 3, 3)) * scale))
        stored.append((f"b{i}", np.zeros(channels)))
        nodes.append(node("Conv", [source, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}",
                          kernel_shape=[3, 3], pads=[1, 1, 1, 1]))  # fmt: skip
        nodes.append(node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        source, width = f"r{i}", channels
        if i > 0:
            nodes.append(node("MaxPool", [source], [f"p{i}"], f"pool{i}", kernel_shape=[2, 2],
                              strides=[2, 2]))  # fmt: skip
            source = f"p{i}"
    nodes.append(node("Flatten", [source], ["f"], "flatten"))
    source, width = "f", 4 * CHANNELS[-1]
    for name, units in (("dense", HIDDEN), ("scores", 10)):
        stored.append((f"{name}.w", random.normal(size=(units, width)) * np.sqrt(2 / width)))
        stored.append((f"{name}.b", np.zeros(units)))
        nodes.append(node("Gemm", [source, f"{name}.w", f"{name}.b"], [name], name, transB=1))
        source, width = name, units
        if name == "dense":
            nodes.append(node("Relu", [name], ["dr"], "dense_relu"))
            source = "dr"
    tensors = [onnx.numpy_helper.from_array(array.astype(np.float32), n) for n, array in stored]
    graph = onnx.helper.make_graph(nodes, "digits", [value("x", 1, [batch, 1, 8, 8])],
                                   [value("scores", 1, [batch, 10])], tensors)  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                  ir_version=8)  # fmt: skip


def data(seed: int) -> tuple[Any, Any, Any, Any]:
    """Training and test images in 0–1 and classes; a quarter, stratified, is for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, classes = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    a, b, c, d = train_test_split(x, classes, test_size=0.2, random_state=seed, stratify=classes)
    return a, c, b, d
