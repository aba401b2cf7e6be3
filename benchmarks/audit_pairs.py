"""Networks × transforms on this host: is what the audit recommends ever slower, and do its
predictions of the gain hold?

Every network of a seeded, stratified sample under 2 GMAC is audited; what is recommended is
measured again in fresh rounds. Bars: no recommended pair whose Holm-corrected lower limit of
the ratio to the original exceeds 1.02; of the pairs whose measured ratio lies outside
0.95–1.05, 90 % predicted within 10 %. Predictions come from the store (``--store``, after
``lwprof measure`` and ``lwprof fit`` there); without any they are left out and said so.
Goes on from the JSON file where it was stopped.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from figures import arguments, save

from lwprof.auditing import audit
from lwprof.errors import LwprofError
from lwprof.zoo import figures

PAIRS, LIMIT_MACS, SEED = 200, 2_000_000_000, 20261123
NEVER, WITHIN, OUTSIDE = 1.02, 0.10, (0.95, 1.05)
# Networks that are themselves another's deployed or square form, or run minutes.
LEFT_OUT = ("_deploy", "_square", "sampled", "transformer", "addernet", "addersr")


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


def audited(name: str, budget_s: float, store: str | None, again: bool) -> list[dict[str, Any]]:
    """The pairs of one network; recommended ones carry their ratio in fresh rounds."""
    found = audit(name, threads=1, budget_s=budget_s, store=store, fresh=True, seed=SEED)
    base = found.baseline_predicted
    pairs = []
    for line in found.lines:
        if line.outcome is None:
            continue
        pairs.append({
            "network": name, "transform": line.candidate.id, "recommended": line.recommended,
            "verdict": line.verdict, "ratio": line.outcome.ratio.value,
            "rounds": line.outcome.rounds, "output_error": line.candidate.output_error,
            "low": line.outcome.corrected.low, "high": line.outcome.corrected.high,
            "predicted": None if line.predicted is None or base is None
            else line.predicted.value / base.value,
        })  # fmt: skip
    chosen = [pair["transform"] for pair in pairs if pair["recommended"]]
    if chosen and again:
        fresh = audit(name, threads=1, budget_s=budget_s, store=store, fresh=True, seed=SEED + 1,
                      transforms=chosen)  # fmt: skip
        for pair in pairs:
            if pair["transform"] in chosen:
                outcome = fresh.line(pair["transform"]).outcome
                if outcome is not None:
                    pair["again"] = [outcome.ratio.value, outcome.corrected.low,
                                     outcome.corrected.high]  # fmt: skip
    return pairs


def summary(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """The two bars over all pairs so far."""
    again = [p for p in pairs if "again" in p]
    moved = [p for p in pairs if p["predicted"] is not None
             and not OUTSIDE[0] <= p["ratio"] <= OUTSIDE[1]]  # fmt: skip
    close = [p for p in moved if abs(p["predicted"] / p["ratio"] - 1) <= WITHIN]
    return {
        "pairs": len(pairs),
        "recommended": len([p for p in pairs if p["recommended"]]),
        "measured_again": len(again),
        "slower_again": [f"{p['network']}+{p['transform']}" for p in again
                         if p["again"][1] > NEVER],
        "slower_value_again": len([p for p in again if p["again"][0] > NEVER]),
        "predicted_and_moved": len(moved),
        "within_10_percent": len(close) / len(moved) if moved else None,
    }  # fmt: skip


def main() -> None:
    """Audits until enough pairs are there, and prints the figures after each network."""
    chosen = arguments(__doc__ or "", store=None, budget_s=20.0, networks=0)
    path = Path(chosen.json) if chosen.json else None
    pairs: list[dict[str, Any]] = []
    done: dict[str, str] = {}
    if path is not None and path.exists():
        stored = json.loads(path.read_text())["figures"]
        pairs, done = stored["all"], stored["networks"]
    wanted = 40 if chosen.quick else PAIRS
    steps = 0
    for name in networks():
        if len(pairs) >= wanted or (chosen.networks and steps >= chosen.networks):
            break
        if name in done:
            continue
        steps += 1
        try:
            pairs += audited(name, chosen.budget_s, chosen.store, again=True)
            done[name] = "done"
        except LwprofError as error:
            done[name] = str(error)
        result = summary(pairs)
        save(chosen.json, {"summary": result, "networks": done, "all": pairs})
        print(name, json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
