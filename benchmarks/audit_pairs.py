"""Networks × transforms on this host: is what the audit recommends ever slower, and do its
predictions of the gain hold?

    python benchmarks/audit_pairs.py --folder F --store S --json J [--phase apply|measure]

From every network of a seeded sample, stratified by work and under 2 GMAC, a seeded sample of
the transforms that fit is taken. ``apply`` writes the models and what the cost model of the store
(after ``lwprof measure`` and ``lwprof fit`` there) expects of them into the folder; ``measure``
compares each with its original as the audit does, and measures what came out faster again in
fresh rounds. Both go on where they were stopped; ``--networks N`` ends a call after N.

Bars: no recommended pair whose Holm-corrected lower limit of the ratio to the original exceeds
1.02 when measured again; of the pairs whose measured ratio lies outside 0.95–1.05, 90 % predicted
within 10 %. Ratios count from six rounds on; what a store's tables come from is its owner's care:
the variants themselves were never in it.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from figures import arguments, save

from lwprof.compression.audit.bench import Bench
from lwprof.compression.audit.candidates import Candidate, apply_one
from lwprof.compression.audit.pricing import Pricing, open_pricing
from lwprof.compression.audit.registry import transforms
from lwprof.compression.audit.result import Line
from lwprof.compression.audit.rounds import DESIGN, Outcome
from lwprof.compression.running import outputs, random_feeds
from lwprof.compression.transform import Given, Transformed
from lwprof.errors import LwprofError
from lwprof.profiler.graph import Graph, read
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import read_model
from lwprof.profiler.store import open_store
from lwprof.zoo import figures

PAIRS, EACH, LIMIT_MACS, SEED = 200, 8, 2_000_000_000, 20261123
NEVER, WITHIN, OUTSIDE = 1.02, 0.10, (0.95, 1.05)
ROUNDS = DESIGN.looks[0]
# Networks that are themselves another's deployed or square form, or take minutes to run.
LEFT_OUT = ("_deploy", "_square", "sampled", "transformer", "addernet", "addersr")
SETTINGS = Settings(threads=1)


def networks() -> list[str]:
    """Names under the limit, shuffled within strata of MACs so that any prefix spans them."""
    known = {name: f.macs for name, f in figures().items()
             if f.macs and f.macs < LIMIT_MACS and not any(x in name for x in LEFT_OUT)}  # fmt: skip
    ordered = sorted(known, key=lambda name: known[name])
    drawn = random.Random(SEED)
    strata = [ordered[i::5] for i in range(5)]
    for stratum in strata:
        drawn.shuffle(stratum)
    return [s[i] for i in range(max(map(len, strata))) for s in strata if i < len(s)]


def apply(name: str, folder: Path, pricing: Pricing) -> int:
    """Writes the sampled variants of one network and what is expected of them."""
    graph = read_model(name, SETTINGS)
    given = Given(work=0.5, seed=SEED)
    feeds = random_feeds(graph, 2, SEED)
    reference = outputs(graph.proto, feeds)
    base = pricing.latency(graph)
    order = list(transforms())
    random.Random(f"{SEED} {name}").shuffle(order)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for transform in order:
        own = replace(given, price=pricing.seconds()) if transform.prices else given
        found = apply_one(graph, transform, own, feeds, reference)
        # Simulated forms run the original's dense kernels: their time says nothing.
        if found.graph is None or found.transformed is None or found.transformed.simulated:
            continue
        started = time.monotonic()
        priced = pricing.latency(found.graph)
        onnx.save(found.graph.proto, folder / f"{transform.id}.onnx")
        rows.append({
            "network": name, "transform": transform.id, "output_error": found.output_error,
            "predicted": priced.value / base.value if priced and base else None,
            "pricing_s": time.monotonic() - started,
        })  # fmt: skip
        if len(rows) == EACH:
            break
    (folder / "pairs.json").write_text(json.dumps(rows, indent=1))
    return len(rows)


def measure(name: str, folder: Path, bench: Bench) -> list[dict[str, Any]]:
    """The pairs of one network measured; those that are faster, twice."""
    rows = json.loads((folder / "pairs.json").read_text())
    graph = read_model(name, SETTINGS)
    variants = {row["transform"]: read(str(folder / f"{row['transform']}.onnx")) for row in rows}
    found = bench.compare(graph, variants, "first").outcomes
    rows = [row | _measured(row, variants, found) for row in rows if row["transform"] in found]
    faster = [row["transform"] for row in rows if row["faster"]]
    if faster:
        again = bench.compare(graph, {key: variants[key] for key in faster}, "again").outcomes
        for row in rows:
            if row["transform"] in again:
                one = again[row["transform"]]
                row["again"] = [one.ratio.value, one.corrected.low, one.corrected.high]
    return rows


def _measured(row: dict[str, Any], variants: Mapping[str, Graph], found: Mapping[str, Outcome]
              ) -> dict[str, Any]:  # fmt: skip
    name = row["transform"]
    (transform,) = transforms([name])
    done = Transformed(None, ("",), {}, transform.equivalence)
    candidate = Candidate(transform, done, variants[name], None, row["output_error"])
    line, outcome = Line(candidate, None, found[name]), found[name]
    return {
        "recommended": line.recommended, "faster": line.proven_faster, "verdict": line.verdict,
        "ratio": outcome.ratio.value, "rounds": outcome.rounds,
        "ratio_low": outcome.ratio.low, "ratio_high": outcome.ratio.high,
        "low": outcome.corrected.low, "high": outcome.corrected.high,
    }  # fmt: skip


def summary(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """The two bars over all pairs so far."""
    whole = [p for p in pairs if p["rounds"] >= ROUNDS]
    again = [p for p in pairs if "again" in p]
    moved = [p for p in whole if p["predicted"] is not None
             and not OUTSIDE[0] <= p["ratio"] <= OUTSIDE[1]]  # fmt: skip
    close = [p for p in moved if abs(p["predicted"] / p["ratio"] - 1) <= WITHIN]
    side = [p for p in moved if (p["predicted"] < 1) == (p["ratio"] < 1)]
    missed = Counter(p["transform"] for p in moved if p not in close)
    return {
        "pairs": len(pairs), "of_six_rounds": len(whole),
        "verdicts": dict(Counter(p["verdict"] for p in pairs)),
        "faster": sum(p["faster"] for p in pairs),
        "recommended": sum(p["recommended"] for p in pairs), "measured_again": len(again),
        "slower_again": [f"{p['network']}+{p['transform']}" for p in again
                         if p["again"][1] > NEVER],
        "slower_value_again": sum(p["again"][0] > NEVER for p in again),
        "predicted_and_moved": len(moved),
        "within_10_percent": len(close) / len(moved) if moved else None,
        "right_side": len(side) / len(moved) if moved else None,
        "missed_by_transform": dict(missed.most_common()),
    }  # fmt: skip


def applied(chosen: Any, folder: Path) -> None:
    """The first phase over the networks that are still missing."""
    pricing = open_pricing("host", {"runtime": "onnxruntime", "threads": 1}, chosen.store)
    steps = count = 0
    for name in networks():
        path = folder / name / "pairs.json"
        if not path.exists():
            if chosen.networks and steps >= chosen.networks:
                break
            steps += 1
            try:
                apply(name, folder / name, pricing)
            except LwprofError as error:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("[]")
                print(name, str(error), flush=True)
        count += len(json.loads(path.read_text()))
        print(name, count, pricing.reason or "", flush=True)
        if count >= (PAIRS // 5 if chosen.quick else PAIRS):
            break


def measured(chosen: Any, folder: Path) -> None:
    """The second phase over the networks that were applied, saved after each."""
    path = Path(chosen.json) if chosen.json else None
    stored = json.loads(path.read_text())["figures"] if path and path.exists() else {}
    pairs, done = list(stored.get("all", [])), dict(stored.get("networks", {}))
    steps = 0
    with open_store(chosen.store) as store, open_device("host", "onnxruntime") as link:
        bench = Bench(link, SETTINGS, 1, store, chosen.budget_s, seed=SEED)
        for name in networks():
            if name in done or not (folder / name / "pairs.json").exists():
                continue
            if chosen.networks and steps >= chosen.networks:
                break
            steps += 1
            try:
                pairs += measure(name, folder / name, bench)
                done[name] = "done"
            except LwprofError as error:
                done[name] = str(error)
            result = summary(pairs)
            save(chosen.json, {"summary": result, "networks": done, "all": pairs})
            print(name, json.dumps(result), flush=True)


def main() -> None:
    """Runs one phase, or both."""
    chosen = arguments(__doc__ or "", store=None, budget_s=30.0, networks=0, phase="",
                       folder="audit_pairs")  # fmt: skip
    folder = Path(chosen.folder)
    if chosen.phase in ("", "apply"):
        applied(chosen, folder)
    if chosen.phase in ("", "measure"):
        measured(chosen, folder)


if __name__ == "__main__":
    main()
