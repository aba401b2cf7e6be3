"""Building the zoo: seconds per network against the bars, and the table of its figures.

``--figures 1`` rewrites the counts in zoo/networks.csv. benchmarks/zoo_run.py runs the networks.
"""

from __future__ import annotations

import csv
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


def write_figures() -> None:
    """Counts every network anew; a new one gets a line whose paper and source are to be filled."""
    path = Path(zoo.__file__).with_name("networks.csv")
    with path.open(encoding="utf-8", newline="") as file:
        title, *lines = csv.reader(file)
    known = {line[0]: line[1:6] for line in lines}
    rows = []
    for name in zoo.networks():
        graph = read(zoo.build(name, weights="none"))
        published = known.get(name, ["0", "", "", "", ""])
        rows.append([name, *published, graph.params, graph.macs, graph.peak_memory_bytes])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([title, *rows])


def main() -> None:
    args = arguments(__doc__, figures=0)
    if args.figures:
        write_figures()
        return
    print(machine())
    rows = []
    names = zoo.list()[::5] if args.quick else zoo.list()
    for name in sorted({*names, *(n for n in BARS if n in zoo.list())}):
        row = built(name, 1 if args.quick else 3)
        rows.append(row)
        late = [row["bare_s"] > BARE_S, (row["weights_s"] or 0) > BARS.get(name, 1e9)]
        weights = f"{row['weights_s']:7.3f} s" if row["weights_s"] else ""
        print(f"{name:28} bare {row['bare_s']:6.3f} s  {weights}"
              f"{'  OVER THE BAR' if any(late) else ''}", flush=True)  # fmt: skip
        save(args.json, rows)


if __name__ == "__main__":
    main()
