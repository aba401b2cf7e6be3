"""Pruned networks of the zoo against the masked originals: outputs equal to 1e-4, relative.

    python benchmarks/surgery.py [--quick] [--json FILE] [--masks 3]

Bar: at least 30 networks × random channel masks.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import figures

from lwprof import zoo
from lwprof.compression.graph import channels, mask_channels, remove_channels
from lwprof.compression.graph.dependencies import random_kept
from lwprof.compression.running import outputs, random_feeds, relative_error
from lwprof.errors import LwprofError
from lwprof.profiler.graph import read

BAR = 1e-4
SHARES = (0.3, 0.6, 0.9)
# Small images: shapes are what is tested, not speed. Larger where the network demands it.
RESOLUTIONS = (32, 64, 96, 128, 224, 299)
SKIPPED_PARAMETERS = 70_000_000
QUICK = ("mobilenet_v2", "resnet18", "squeezenet1_1", "shufflenet_v2_x1_0", "ghostnet")


def smallest(name: str) -> Any:
    """The network at the smallest resolution that it takes."""
    options = zoo.find(name).options
    if "resolution" not in options:
        return zoo.build(name)
    for resolution in RESOLUTIONS:
        try:
            model = zoo.build(name, resolution=resolution)
            read(model)
        except LwprofError:
            continue
        return model
    return zoo.build(name)


def check(name: str, masks: int) -> dict[str, Any]:
    """The largest relative error of a network over random masks."""
    started = time.monotonic()
    found = channels(smallest(name))
    errors, sizes = [], []
    feeds = random_feeds(found.graph, 1, seed=1)
    for number in range(masks if found.units else 0):
        kept = random_kept(found, SHARES[number % len(SHARES)], seed=number)
        pruned = remove_channels(found, kept)
        reference = outputs(mask_channels(found, kept), feeds)
        errors.append(relative_error(reference, outputs(pruned, feeds)))
        smaller = read(pruned)
        sizes.append((smaller.params / found.graph.params,
                      (smaller.macs or 0) / (found.graph.macs or 1)))  # fmt: skip
    return {
        "network": name, "units": found.units, "groups": len(found.groups), "masks": len(errors),
        "worst": max(errors, default=None), "params_and_macs": sizes,
        "refused": len(found.refused), "seconds": time.monotonic() - started,
    }  # fmt: skip


def main() -> None:
    """Checks every network that fits and prints the worst error."""
    given = figures.arguments(__doc__ or "", masks=3, only="")
    names = given.only.split(",") if given.only else (QUICK if given.quick else zoo.list())
    rows = []
    for name in names:
        if zoo.figures()[name].params > SKIPPED_PARAMETERS:
            continue
        try:
            rows.append(check(name, given.masks))
        except Exception as error:  # noqa: BLE001 - whatever fails is a figure here
            rows.append({"network": name, "failure": f"{type(error).__name__}: {error}"[:160]})
        row = rows[-1]
        worst = row.get("worst")
        print(f"{name:28} {row.get('units', 0):6} units {row.get('groups', 0):4} groups  "
              f"{'-' if worst is None else f'{worst:.1e}'}  {row.get('refused', '')} refused "
              f"{row.get('seconds', 0):.1f} s {row.get('failure', '')}", flush=True)  # fmt: skip
        figures.save(given.json, rows)
        gc.collect()
    tried = [row for row in rows if row.get("worst") is not None]
    good = [row for row in tried if row["worst"] <= BAR]
    print(f"{len(good)} of {len(tried)} networks with prunable channels equal to {BAR:g} over "
          f"{sum(row['masks'] for row in tried)} masks (bar: all, at least 30); "
          f"{len(rows) - len(tried)} without, or failed")  # fmt: skip


if __name__ == "__main__":
    main()
