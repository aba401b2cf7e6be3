"""The ONNX conformance suite through measuring itself, on the real agent. Bar: 0 tracebacks.

Every node model is prepared on the device, visited once end to end and once profiled in fresh
processes, stored, and reduced to a result, by the code that ``lwprof measure`` runs. (The
command itself visits a model at least twelve times: hours for 1,900 models.)
"""

from __future__ import annotations

import random
import sys
import tempfile
import traceback
from collections import Counter

from conformance import suite
from figures import arguments, machine, save

from lwprof.errors import LwprofError
from lwprof.profiler.session import scripts
from lwprof.profiler.session.analysis import model_result
from lwprof.profiler.session.link import Link, open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare, prepare_chains, read_model
from lwprof.profiler.session.runner import Runner, add_subjects
from lwprof.profiler.store import open_store

SETTINGS = Settings(threads=1)
LATENCY_S = 1e-4


def measure(link: Link, model: bytes, chains: dict[str, scripts.Runnable], runner: Runner) -> None:
    """One visit of each kind, and the result of the two."""
    prepared = prepare(link.agent, read_model(model, SETTINGS), SETTINGS, 1)
    nodes, key = len(prepared.kernels), prepared.graph.sha256
    add_subjects(runner.store, {key: prepared.graph.name}, {})
    plain = scripts.end_to_end(prepared.runnable, LATENCY_S, link.affinity)
    inside = scripts.in_context(prepared.runnable, chains, LATENCY_S, nodes, link.affinity)
    blocks = [runner.execute("end_to_end", key, plain), runner.execute("in_context", key, inside)]
    result = model_result(prepared, blocks[:1], blocks[1:], {})
    assert result.latency_s.value > 0, "no latency"
    assert result.closure is not None or not prepared.kernels, "kernels without closure"


def main() -> int:
    args = arguments(__doc__, every=1, first=0)
    every = 40 if args.quick else args.every
    print(machine())
    counts: Counter[str] = Counter()
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as folder, open_device("host") as link:
        store = open_store(f"{folder}/m.db")
        context = link.context(SETTINGS, 1)
        store.put_device(link.stored_device())
        run = link.begin(store, "measure", {"kind": "conformance"}, context, fresh=True)
        runner = Runner(link.agent, store, run, context, 1e9, random.Random(0))
        chains = prepare_chains(link.agent, SETTINGS, 1)
        for place, (name, data, _) in enumerate(suite()):
            if place % every or place < args.first:
                continue
            try:
                measure(link, data, chains, runner)
                outcome = "measured"
            except LwprofError as error:
                outcome = "refused"
                reasons.append(f"{name}: {' '.join(str(error).split())}")
            except Exception:  # noqa: BLE001 - this is what is being looked for
                outcome = "traceback"
                reasons.append(f"{name}: traceback: {traceback.format_exc(limit=-3)}")
            counts[outcome] += 1
            runner.done.clear()
            if place % (50 * every) == 0:
                print(place, dict(counts), flush=True)
                save(args.json, {"counts": dict(counts), "reasons": reasons})
    save(args.json, {"counts": dict(counts), "reasons": reasons})
    print(dict(counts))
    for reason in [r for r in reasons if ": traceback: " in r][:20]:
        print(reason)
    return 1 if counts["traceback"] else 0


if __name__ == "__main__":
    sys.exit(main())
