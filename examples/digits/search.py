"""From data to device: an FBNet-style search on digits, priced by this host's own table.

1. random networks of the space are measured on the host; a block table is fitted to them
2. for each of three limits a supernet is trained with the latency term of that table
3. candidates near its logits that meet the limit are ranked with the supernet's shared weights
   on held-out data; the best few are trained, and the one best on held-out data is chosen
4. it is exported to ONNX and measured; a network over its limit teaches the table, and the next
   is derived
5. random networks within the limit, trained equally long, are the yardstick on test data

    python examples/digits/search.py [--quick] [--json FILE]
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from space import Digits, choice, head, layers, stem, to_onnx
from training import Data, accuracy, batches, digits, train

import lwprof
from lwprof.predictors.block_table import BlockTable
from lwprof.search.constraints import log_spread
from lwprof.search.differentiable.derive import derive
from lwprof.search.differentiable.losses import LatencyLoss
from lwprof.search.differentiable.supernet import Schedule, Supernet
from lwprof.search.differentiable.supernet import train as train_supernet

QUANTILES = (0.2, 0.5, 0.8)
FINALISTS, DRAWN = 3, 300
ATTEMPTS = 4


def measured(model: Any, budget_s: float, store: str | None) -> dict[str, Any]:
    """The host's latency of a network, one thread: an estimate with its interval."""
    result = lwprof.measure([model], threads=1, kernels=False, budget_s=budget_s, rel_ci=0.03,
                            store=store)  # fmt: skip
    estimate: dict[str, Any] = result.models[0].latency_s.to_json()
    return estimate


def host_table(space: Digits, networks: int, budget_s: float, store: str | None) -> Any:
    """The host's block table, its relative error, and what it was fitted to.

    Returns:
        (table, spread, codes, seconds)
    """
    rng = np.random.default_rng(0)
    codes = np.unique(space.sample(networks, rng), axis=0)
    codes = np.concatenate([codes, _covering(space, rng)])
    models = [space.build(text) for text in space.decode(codes)]
    result = lwprof.measure(models, threads=1, kernels=False, budget_s=budget_s * len(models),
                            rel_ci=0.03, store=store)  # fmt: skip
    times = np.array([model.latency_s.value for model in result.models])
    table = BlockTable.fit(space, codes, times, source="measured")
    freedom = max(1, len(codes) - sum(c - 1 for c in space.choices) - 1)
    inside = log_spread(table.predict(codes)[:, 0], times)
    return table, inside * np.sqrt(len(codes) / freedom), codes, times


def _covering(space: Digits, rng: np.random.Generator) -> Any:
    """Codes that together contain every choice of every block twice."""
    most = max(space.choices)
    rows = [rng.permuted(np.tile(np.arange(c), 2 * most // c + 1)[: 2 * most])
            for c in space.choices]  # fmt: skip
    return np.stack(rows, axis=1)


def search(space: Digits, table: Any, limit_s: float, data: Data, epochs: int, seed: int) -> Any:
    """Logits and supernet for one limit."""
    torch.manual_seed(seed)
    paths = [[choice(*layer, option) for option in options]
             for layer, options in zip(layers(), space.blocks.values(), strict=True)]  # fmt: skip
    supernet = Supernet(stem(), paths, head())
    generator = torch.Generator().manual_seed(seed)
    price = LatencyLoss(table, limit_s, "target", weight=1.0)
    logits = train_supernet(
        supernet, batches(data.train, generator), batches(data.held_out, generator), price,
        "fbnet", Schedule(warm_up=epochs // 2, epochs=epochs // 2),
    )  # fmt: skip
    return logits, supernet


def finalists(logits: Any, supernet: Supernet, table: Any, bound_s: float, data: Data) -> Any:
    """The derived network, and the best of those drawn from the logits, by shared weights."""
    first = derive(logits, table, bound_s)
    if first is None:
        return []
    shares = torch.softmax(logits, -1)
    drawn = torch.multinomial(shares, DRAWN, replacement=True).T.numpy()
    drawn = np.unique(np.concatenate([first[None], drawn]), axis=0)
    drawn = drawn[table.predict(drawn)[:, 0] <= bound_s]
    # The dearest that fit: capacity that the limit pays for anyway.
    drawn = drawn[np.argsort(-table.predict(drawn)[:, 0])][:40]
    supernet.train()  # shared statistics fit no single path: take each batch's own
    with torch.no_grad():
        scores = [float((supernet(data.held_out[0], supernet.one_hot(code)).argmax(1)
                         == data.held_out[1]).float().mean()) for code in drawn]  # fmt: skip
    ranked = [drawn[i] for i in np.argsort(-np.array(scores), kind="stable")]
    return [first, *(code for code in ranked if not (code == first).all())]


def one_limit(space: Digits, known: Any, limit_s: float, data: Data, args: Any, seed: int) -> Any:
    """Searches, trains, exports and measures until a network meets the limit as measured."""
    table, spread, codes, times = known
    logits, supernet = search(space, table, limit_s, data, args.epochs, seed)
    for attempt in range(ATTEMPTS):
        bound = limit_s * float(np.exp(-1.645 * spread)) * (0.99 if not attempt else 0.97**attempt)
        best: Any = None
        for code in finalists(logits, supernet, table, bound, data)[:FINALISTS]:
            torch.manual_seed(1000)
            module = train(space.module(code), data.train, args.epochs, seed=1)
            reached = accuracy(module, data.held_out)
            if best is None or reached > best[0]:
                best = (reached, code, module)
        if best is None:
            raise SystemExit(f"no network of the space costs less than {bound * 1e3:.3f} ms")
        held_out, code, module = best
        predicted = float(table.predict(code[None])[0, 0])
        real = measured(to_onnx(module), args.budget_s, args.store)
        if real["high"] is not None and real["high"] <= limit_s:
            break
        codes, times = np.vstack([codes, code]), np.append(times, real["value"])
        table = BlockTable.fit(space, codes, times, source="measured")
    return {
        "limit_s": limit_s, "architecture": space.decode(code[None])[0], "predicted_s": predicted,
        "latency_s": real, "meets": real["high"] is not None and real["high"] <= limit_s,
        "attempts": attempt + 1, "held_out": held_out, "test": accuracy(module, data.test),
        **_yardstick(space, table, limit_s, data, args, seed),
    }  # fmt: skip


def _yardstick(space: Digits, table: Any, limit_s: float, data: Data, args: Any, seed: int) -> Any:
    """Test accuracies of random networks that the table places within the limit."""
    codes = space.sample(20_000, np.random.default_rng(1000 + seed))
    codes = codes[table.predict(codes)[:, 0] <= limit_s][: args.random]
    reached = []
    for code in codes:
        torch.manual_seed(1000)
        reached.append(accuracy(train(space.module(code), data.train, args.epochs, 1), data.test))
    return {"random_best": max(reached), "random_mean": float(np.mean(reached)),
            "random_networks": len(reached)}  # fmt: skip


def main() -> None:
    """Runs the whole search and prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, to see it run")
    parser.add_argument("--json")
    parser.add_argument("--store", help="where measurements are kept; a run cut off goes on")
    args = parser.parse_args()
    args.epochs, args.random = (4, 3) if args.quick else (16, 20)
    args.networks, args.budget_s = (30, 3.0) if args.quick else (50, 6.0)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space, data, started = Digits(), digits(), time.monotonic()
    known = host_table(space, args.networks, args.budget_s, args.store)
    table, spread = known[:2]
    print(f"table from {len(known[2])} networks of this host, relative error {100 * spread:.1f} %, "
          f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    sampled = table.predict(space.sample(5000, np.random.default_rng(5)))[:, 0]
    rows = []
    print("limit ms  predicted  measured (high)  meets  test %  best of random (mean)")
    for seed, quantile in enumerate(QUANTILES):
        row = one_limit(space, known, float(np.quantile(sampled, quantile)), data, args, seed)
        rows.append(row)
        real = row["latency_s"]
        print(f"{row['limit_s'] * 1e3:8.3f}  {row['predicted_s'] * 1e3:9.3f}  "
              f"{real['value'] * 1e3:7.3f} ({real['high'] * 1e3:.3f})  {row['meets']!s:5}  "
              f"{row['test']:6.2f}  {row['random_best']:.2f} ({row['random_mean']:.2f})",
              flush=True)  # fmt: skip
    print(f"{time.monotonic() - started:.0f} s in all")
    if args.json:
        Path(args.json).write_text(json.dumps({"rows": rows, "spread": spread}, indent=2))


if __name__ == "__main__":
    main()
