"""Start of the command line: ``lwprof --help`` against ``python -c "import numpy, pandas"``."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
from figures import arguments, machine, save


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    args = arguments(__doc__, runs=15)
    ours = [sys.executable, "-m", "lwprof", "--help"]
    other = [sys.executable, "-c", "import numpy, pandas"]
    pairs = []
    for index in range(args.runs + 1):
        a, b = (seconds(ours), seconds(other)) if index % 2 else (seconds(other), seconds(ours))
        if index:  # the first pair warms the file cache
            pairs.append((a, b) if index % 2 else (b, a))
    a, b = np.median(np.array(pairs), axis=0)
    ratio = float(np.median([x / y for x, y in pairs]))
    print(machine())
    print(f"lwprof --help {a * 1e3:.0f} ms, numpy and pandas {b * 1e3:.0f} ms, ratio {ratio:.2f}")
    save(args.json, {"ours_s": a, "other_s": b, "ratio": ratio})


if __name__ == "__main__":
    main()
