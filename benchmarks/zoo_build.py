"""Building the zoo: seconds per network against the bars; the table of figures; imports into TVM.

``--figures 1`` rewrites zoo/figures.csv; ``--tvm 1`` also imports every network into TVM.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from figures import arguments, machine, save

from lwprof import zoo
from lwprof.profiler.graph import read

# Seconds with weights; without them every network has 0.2 s.
BARS = {"resnet50": 1.0, "nasnet_large": 5.0}
BARE_S = 0.2


def best_s(build: Any, times: int) -> float:
    """The fastest of several builds: other work on the machine only ever adds."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        build()
        spent.append(time.perf_counter() - start)
    return min(spent)


def built(name: str, times: int) -> dict[str, Any]:
    return {
        "network": name,
        "bare_s": best_s(lambda: zoo.build(name, weights="none"), times),
        "weights_s": best_s(lambda: zoo.build(name), times) if name in BARS else None,
    }


def imports_into_tvm(name: str) -> str:
    """Empty, or why TVM's front end refuses the network."""
    from tvm.relax.frontend.onnx import from_onnx

    try:
        from_onnx(zoo.build(name))
    except Exception as error:  # noqa: BLE001 - what the front end raises is not documented
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return ""


def write_figures() -> None:
    lines = ["network,params,macs,peak_memory_bytes"]
    for name in zoo.list():
        graph = read(zoo.build(name, weights="none"))
        lines.append(f"{name},{graph.params},{graph.macs},{graph.peak_memory_bytes}")
    path = Path(zoo.__file__).with_name("figures.csv")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    args = arguments(__doc__, figures=0, tvm=0)
    if args.figures:
        write_figures()
        return
    print(machine())
    rows = []
    names = zoo.list()[::5] if args.quick else zoo.list()
    for name in sorted({*names, *(n for n in BARS if n in zoo.list())}):
        row = built(name, 1 if args.quick else 3)
        if args.tvm:
            row["tvm"] = imports_into_tvm(name)
        rows.append(row)
        late = [row["bare_s"] > BARE_S, (row["weights_s"] or 0) > BARS.get(name, 1e9)]
        weights = f"{row['weights_s']:7.3f} s" if row["weights_s"] else ""
        print(f"{name:28} bare {row['bare_s']:6.3f} s  {weights} {row.get('tvm', '')}"
              f"{'  OVER THE BAR' if any(late) else ''}", flush=True)  # fmt: skip
        save(args.json, rows)


if __name__ == "__main__":
    main()
