"""Peak activation memory from the graph against what ONNX Runtime's arena takes.

Bar: within 10 % on at least 90 % of 20 networks or more. Measured is what the CPU arena is
extended by in the second run of a fresh process, one thread, ``kSameAsRequested``: by then the
runtime has seen the first run's pattern and asks for all activations in one block. (The first
run, whose allocations come one by one, is printed too.) Computed is the runtime's plan, replayed
on its optimised graph (``profiler/kernels/arena.py``); beside it stands the peak of ``lwprof
inspect``, liveness with elementwise operators in place. Feeds live in the caller's memory.

    python benchmarks/peak_memory.py [--quick] [--json FILE]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from figures import arguments, machine, save

from lwprof import zoo
from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import HostRuntime

NETWORKS = (
    "squeezenet1_1", "squeezenet1_0", "mobilenet_v2", "resnet18", "mobilenet_v1", "ghostnet",
    "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v1", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0", "mnasnet_a1", "mnasnet_b1", "efficientnet_b0", "googlenet", "alexnet",
    "fbnet_a", "fbnet_c", "proxylessnas_mobile", "proxylessnas_cpu", "resnet34", "ds_cnn", "resnet8",
    "autoencoder", "lenet5", "mcunet_in0", "mcunet_in2", "vit_tiny", "transformer_layer",
    "nasbench201_best",
)  # fmt: skip
CHILD = """
import sys
import numpy as np
import onnxruntime as ort
arena = ort.OrtArenaCfg({"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1,
    "max_dead_bytes_per_chunk": -1, "initial_growth_chunk_size_bytes": -1})
ort.set_default_logger_severity(1)
ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu",
    ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT), arena)
options = ort.SessionOptions()
options.intra_op_num_threads = options.log_severity_level = 1
options.add_session_config_entry("session.use_env_allocators", "1")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
kinds = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32"}
feeds = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], kinds[i.type])
         for i in session.get_inputs()}
for run in range(2):
    print("RUN", file=sys.stderr, flush=True)
    session.run(None, feeds)
print("END", file=sys.stderr, flush=True)
"""


def measured_arena(path: Path) -> tuple[int, int] | None:
    """By how much the first and the second run extend the arena; None where it cannot run."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    parts = re.split(r"^(?:RUN|END)$", done.stderr, flags=re.MULTILINE)
    if len(parts) != 4:
        return None
    grown = [re.findall(r"Extended allocation by (\d+) bytes", part) for part in parts]
    return sum(map(int, grown[1])), sum(map(int, grown[2]))


def main() -> None:
    options = arguments(__doc__ or "")
    names = NETWORKS[:6] if options.quick else NETWORKS
    print(machine())
    found: dict[str, Any] = {}
    host = HostRuntime()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.onnx"
            zoo.save(name, path)
            graph, measured = read(path), measured_arena(path)
        computed, live = host.prepare(graph).arena_bytes, graph.peak_memory_inplace_bytes
        if measured is None or not measured[1] or computed is None or live is None:
            print(f"{name:22} not measured")
            continue
        ratio = computed / measured[1]
        found[name] = {"computed": computed, "live": live, "first_run": measured[0],
                       "arena": measured[1]}  # fmt: skip
        print(f"{name:22} computed {computed / 2**20:8.2f} MiB   arena {measured[1] / 2**20:8.2f} "
              f"(first run {measured[0] / 2**20:8.2f})   ratio {ratio:.3f}", flush=True)  # fmt: skip
    host.close()
    ratios = np.array([f["computed"] / f["arena"] for f in found.values()])
    within = float((np.abs(ratios - 1) <= 0.1).mean())
    alone = np.array([f["live"] / f["arena"] for f in found.values()])
    print(f"liveness alone: within 10 % on {(np.abs(alone - 1) <= 0.1).mean():.0%}")
    print(f"{len(ratios)} networks: within 10 % on {within:.0%} (bar: 90 % of 20 or more)")
    save(options.json, {"networks": found, "within_10": within})


if __name__ == "__main__":
    main()
