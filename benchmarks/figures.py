"""What every benchmark prints and writes: the machine, and its figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy
import onnxruntime


def arguments(text: str, **extra: Any) -> argparse.Namespace:
    """Parses ``--quick``, ``--json FILE`` and what a benchmark adds (name → default)."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="a seeded sample of the whole")
    parser.add_argument("--json", help="write the figures here as well, after every step")
    for name, default in extra.items():
        kind = type(default) if default is not None else str
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What the figures were obtained on; no names or addresses."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().split("\n")
                if line.startswith("model name")), platform.machine())  # fmt: skip
    return {"cpu": cpu, "cores": os.cpu_count(), "load_1m": os.getloadavg()[0],
            "python": platform.python_version(), "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__}  # fmt: skip


def save(path: str | None, figures: Any) -> None:
    """Writes figures so far, so that an interrupted benchmark loses nothing."""
    if path:
        Path(path).write_text(json.dumps({"machine": machine(), "figures": figures}, indent=1))
