"""Native programs for phones: their size, and their outputs against ONNX Runtime's.

Each network is compiled for aarch64 and armv7, pushed by a real adb client to a stand-in
for a phone (tests/agents/adbd_double.py) and run there under qemu's user-mode emulation.
Bars: MobileNetV2's kernels in at most 1 MB without weights; outputs equal to 1e-4 of the
largest. Nothing here is a time of a phone.

    python benchmarks/phones.py [--quick] [--networks mobilenet_v2,resnet8] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
import numpy
import onnxruntime

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "agents"))
import phones
from adbd_double import Phone
from native_world import QEMU

from lwprof.agents.native import NativeAgent
from lwprof.agents.program import inputs
from lwprof.profiler.graph import input_specs, materialise, read
from lwprof.profiler.tvm.native import compile_native

_MACHINES = {"aarch64": 183, "armv7l": 40}


def main() -> None:
    """Compile, carry, run, compare, print."""
    options = figures.arguments(__doc__ or "", networks="mobilenet_v2")
    names = ["resnet8"] if options.quick else options.networks.split(",")
    rows: list[dict[str, Any]] = []
    client = next(name for name, path in phones.CLIENTS.items() if path)
    with tempfile.TemporaryDirectory(prefix="lwprof-") as folder:
        root = Path(folder)
        with phones.server(client, root) as adb:
            emulator = {_MACHINES[m]: str(QEMU[m]) for m in _MACHINES if QEMU[m]}
            phone = Phone(root / "phone", emulator=emulator)
            for name in names:
                for machine in _MACHINES:
                    with phones.target(adb, phone, real_paths=True) as target:
                        rows.append(one(name, machine, target, root))
                    print(line(rows[-1]), flush=True)
                    figures.save(options.json, rows)
            phone.stop()


def one(name: str, machine: str, target: Any, folder: Path) -> dict[str, Any]:
    """One network on one kind of machine."""
    graph = materialise(read(name))
    started = time.perf_counter()
    made = compile_native(graph, machine=machine, threads=2, cache_dir=folder / "programs")
    compile_s = time.perf_counter() - started
    feeds = inputs.build(input_specs(graph))
    session = onnxruntime.InferenceSession(
        graph.proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, feeds)
    with NativeAgent(target, machine=machine) as agent:
        started = time.perf_counter()
        blob = agent.put_program(made.program)
        put_s = time.perf_counter() - started
        found = agent.infer(blob, feeds, threads=2)
    error = max(
        float(numpy.abs(ours - theirs).max() / numpy.abs(theirs).max())
        for ours, theirs in zip(found, expected, strict=True)
    )
    weights = made.program.weights
    assert weights is not None
    return {"network": name, "machine": machine, "kernels": len(made.kernels),
            "program_bytes": made.program.executable.stat().st_size,
            "weight_bytes": weights.stat().st_size, "relative_error": error,
            "compile_s": compile_s, "carry_s": put_s}  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """One figure for people."""
    small = row["program_bytes"] <= 1_000_000
    close = row["relative_error"] <= 1e-4
    return (
        f"{row['network']:16} {row['machine']:8} {row['kernels']:4} kernels "
        f"{row['program_bytes'] / 1e3:7.1f} kB {'ok' if small else 'TOO LARGE'}  "
        f"error {row['relative_error']:.1e} {'ok' if close else 'TOO LARGE'}  "
        f"compiled in {row['compile_s']:.0f} s, carried in {row['carry_s']:.1f} s"
    )


if __name__ == "__main__":
    main()
