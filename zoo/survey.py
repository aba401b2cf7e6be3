"""Table 1 of the survey (Long, Bi, Sun: "Lightweight Design and Optimization methods for DCNNs").

Its one column of storage mixes megabytes (10⁶) and mebibytes (2²⁰); each row says which of
the two its figure is, or how far it is from both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        label: the network as the survey writes it.
        name: the zoo's name.
        storage: the survey's figure; it prints "MB" for all.
        remark: what explains the difference between the figure and ours.
    """

    label: str
    name: str
    storage: int
    remark: str


TABLE_1 = (
    Row("AlexNet", "alexnet_2012", 240, "MB, rounded; two groups, as in the paper of 2012"),
    Row("VGG16", "vgg16", 528, "MiB"),
    Row("VGG19", "vgg19", 575, "MB; VGG16 above it is in MiB"),
    Row("GoogLeNet", "googlenet", 24, "below both; the survey does not say what it counts"),
    Row("ResNet-50", "resnet50", 98, "MiB"),
    Row("ResNet-101", "resnet101", 178, "MB; ResNet-50 above it is in MiB"),
    Row("Inception-v4", "inception_v4", 160, "MiB, rounded to tens"),
    Row("DenseNet-201", "densenet201", 80, "MB"),
    Row("NASNet-A", "nasnet_large", 340, "MiB, rounded to tens"),
    Row("EfficientNet-B7", "efficientnet_b7", 250, "MiB, rounded to tens"),
)
