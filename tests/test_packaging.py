"""The wheel holds every package, and nothing but ``lwprof`` becomes importable."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("device_profiles", "zoo", "profiler", "agents",
         "predictors", "search", "compression", "reports")  # fmt: skip


def test_every_package_folder_is_listed() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(config["tool"]["setuptools"]["packages"])
    found = {"lwprof", "lwprof.cli"} | {
        ".".join(("lwprof", *init.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.parametrize("room", ROOMS)
def test_bare_room_names_are_not_importable(room: str) -> None:
    # In a process of its own: pytest puts the folders of tests on the path.
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({room!r}) is not None)"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
