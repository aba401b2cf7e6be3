"""The networks that the benchmarks measure: nine that ship inside onnx, and ours."""

from __future__ import annotations

from pathlib import Path

import onnx

ZOO = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnet50", "vgg16",
    "efficientnet_b0", "shufflenet_v2_x1_0", "squeezenet1_1", "ghostnet", "tiny_ops",
)  # fmt: skip


def light() -> list[str]:
    """Paths of the nine networks that ship inside the onnx package."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return [str(path) for path in sorted(folder.glob("light_*.onnx"))]


def twenty() -> list[str]:
    """All twenty, as ``lwprof measure`` takes them."""
    return [*light(), *ZOO]


def label(model: str) -> str:
    """A short name for tables."""
    return Path(model).stem


def chosen(only: str) -> list[str]:
    """Those of the twenty whose labels are listed in ``only``, comma-separated; all if empty."""
    return [model for model in twenty() if not only or label(model) in only.split(",")]
