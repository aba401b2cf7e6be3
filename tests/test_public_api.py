"""The public names are what they are said to be, and cost nothing to import."""

import subprocess
import sys

import lwprof


def test_all_names_exist_and_are_sorted() -> None:
    assert lwprof.__all__ == sorted(lwprof.__all__)
    for name in lwprof.__all__:
        assert getattr(lwprof, name) is not None


def test_importing_lwprof_loads_nothing_heavy() -> None:
    code = (
        "import sys, lwprof\n"
        "heavy = {'numpy', 'onnx', 'pandas', 'sqlalchemy', 'rich', 'onnxruntime', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
