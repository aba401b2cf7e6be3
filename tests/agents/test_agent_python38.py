"""The on-device program runs on Python 3.8, which old JetPacks and boards still have."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lwprof.agents import packing
from lwprof.agents.messages import Facts
from lwprof.agents.reading import read

SOURCES = packing.sources()

# Names of attributes, functions and modules that Python 3.8 lacks.
NEWER = {
    "removeprefix", "removesuffix", "zoneinfo", "tomllib", "graphlib", "lcm", "nextafter", "ulp",
    "pairwise", "batched", "bit_count", "randbytes", "is_relative_to", "with_stem", "hardlink_to",
    "readlink_to", "unparse", "indent_tree", "to_thread", "TaskGroup", "timeout_at", "aclosing",
    "nullcontext_async", "chdir_context", "file_digest", "packages_distributions", "files",
    "pidfd_open", "waitstatus_to_exitcode", "StrEnum", "TypeAlias", "ParamSpec", "Annotated",
    "Self", "assert_never", "Concatenate", "override", "cache", "ExceptionGroup", "add_note",
    "walk_packages_pathlib", "EnumType", "verify", "dataclass_transform", "Required",
    "orig_argv", "stdlib_module_names", "sched_setaffinity_np", "process_cpu_count",
}  # fmt: skip
# Calls whose newer keyword arguments Python 3.8 lacks.
NEWER_KEYWORDS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only"}, "open": set(),
                  "stat": {"follow"}, "rmtree": {"onexc"}, "run": {"process_group"},
                  "Popen": {"process_group", "user", "group", "umask", "pipesize"},
                  "TemporaryDirectory": {"delete", "ignore_cleanup_errors"}}  # fmt: skip
BUILTIN_GENERICS = {"list", "dict", "set", "tuple", "frozenset", "type"}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_syntax_is_python_38(name: str) -> None:
    ast.parse(SOURCES[name], filename=name, feature_version=(3, 8))


def annotations(tree: ast.AST) -> set[int]:
    """Nodes that are annotations, which are not evaluated."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
        for part in parts:
            if part is not None:
                found |= {id(inner) for inner in ast.walk(part)}
    return found


def newer_names(source: bytes) -> list[str]:
    """What of ``source`` Python 3.8 would not find when it runs."""
    tree = ast.parse(source)
    skipped = annotations(tree)
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Attribute) and node.attr in NEWER:
            found.append(node.attr)
        elif isinstance(node, ast.alias) and node.name.split(".")[0] in NEWER:
            found.append(node.name)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            if node.value.id in BUILTIN_GENERICS:
                found.append(f"{node.value.id}[...]")
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            names = {keyword.arg for keyword in node.keywords}
            found += sorted(map(str, names & NEWER_KEYWORDS.get(called, set())))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            sides = {getattr(side, "id", None) for side in (node.left, node.right)}
            if sides & (BUILTIN_GENERICS | {"int", "str", "float", "bytes", "None"}):
                found.append("X | Y")
    return found


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_apis_are_python_38(name: str) -> None:
    assert newer_names(SOURCES[name]) == []
    # Without it, annotations such as list[int] would be evaluated.
    if name not in ("__init__.py", "tvm_runtime.py"):
        assert b"from __future__ import annotations" in SOURCES[name]


@pytest.mark.parametrize(
    "bad",
    [b"'a'.removesuffix('b')", b"import zoneinfo", b"from math import lcm", b"X = list[int]",
     b"zip(a, b, strict=True)", b"isinstance(x, int | str)", b"Y = dict[str, int] | None"],
)  # fmt: skip
def test_the_check_finds_what_is_newer(bad: bytes) -> None:
    assert newer_names(bad)


def test_imports_are_the_standard_library_numpy_and_the_runtimes() -> None:
    allowed = {"numpy", "onnxruntime", "tvm"}
    for name, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for module in names:
                top = module.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, (name, module)


def old_python() -> str:
    """A Python 3.8, where there is one: the variable LWPROF_PYTHON38 names it."""
    candidates = [os.environ.get("LWPROF_PYTHON38"), shutil.which("python3.8")]
    candidates += [str(path) for path in Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8")]
    for candidate in candidates:
        if candidate:
            done = subprocess.run(
                [candidate, "-I", "-V"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and "3.8." in done.stdout:
                return candidate
    pytest.skip("no Python 3.8 here; set LWPROF_PYTHON38 to one")


def test_program_really_runs_on_python_38(tmp_path: Path) -> None:
    file = tmp_path / packing.program().file_name
    file.write_bytes(packing.program().data)
    command = [old_python(), "-I", "-u", str(file), "facts"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = read(json.loads(done.stdout), Facts, "old")
    assert found.python.startswith("3.8.")


def test_agent_really_serves_on_python_38(tmp_path: Path) -> None:
    from lwprof.agents import Agent, LocalTarget
    from lwprof.errors import LwprofError

    from small_models import chain, load, script, timed  # isort: skip

    with LocalTarget(workdir=tmp_path, python=old_python()) as target, Agent(target) as agent:
        runtimes = agent.facts().runtimes
        sha = agent.put(chain())
        block = script(load(sha), timed(["plain"]))
        if "onnxruntime" in runtimes:
            assert len(agent.run_block(block).steps) == 2
        else:
            with pytest.raises(LwprofError, match="pip install|lacks a module"):
                agent.run_block(block)
        agent.ping()


def test_packing_is_deterministic_and_complete() -> None:
    files = {"b.py": b"B = 1\n", "a.py": b"A = 1\n"}
    packed = packing.pack(files)
    assert packed == packing.pack(dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(packing.program().data)) as archive:
        names = set(archive.namelist())
        dates = {info.date_time for info in archive.infolist()}
    assert names == {f"lwprof_agent/{name}" for name in SOURCES} | {"__main__.py"}
    assert dates == {(1980, 1, 1, 0, 0, 0)}
    program = Path(packing.__file__).parent / "program"
    here = {str(path.relative_to(program)) for path in program.rglob("*.py")}
    assert set(SOURCES) == here
    assert packing.program().sha256 == hashlib.sha256(packing.program().data).hexdigest()
    assert packing.program().sha256[:16] in packing.program().file_name
