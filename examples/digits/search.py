"""From data to device: an FBNet-style search on digits, priced by this host's own table.

1. random networks of the space are measured on the host; a block table is fitted to them
2. for each of three limits a supernet is trained with the latency term of that table
3. candidates near its logits that meet the limit are ranked with the supernet's shared weights
   on held-out data; the best few are trained, and the one best on held-out data is chosen
4. it is exported to ONNX and measured; a network over its limit lowers the bound, and the next
   is derived
5. random networks within the limit, trained equally long, are the yardstick on test data

    python examples/digits/search.py [--quick] [--json FILE]
"""

import argparse
import copy
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

from lwprof.api import run_measurement
from lwprof.predictors.block_table import BlockTable
from lwprof.profiler.session.options import Effort, Settings
from lwprof.search.constraints import log_spread
from lwprof.search.differentiable.derive import derive
from lwprof.search.differentiable.losses import LatencyLoss
from lwprof.search.differentiable.supernet import Schedule, Supernet
from lwprof.search.differentiable.supernet import train as train_supernet

QUANTILES = (0.2, 0.5, 0.8)
FINALISTS, DRAWN = 3, 300
ATTEMPTS = 5
SETTINGS = Settings(threads=1)


def measured(model: Any, budget_s: float, store: str | None) -> dict[str, Any]:
    """The host's latency of a network, one thread: an estimate with its interval.

    Each block is a process of its own, and an interval takes several: the budget must pay for
    starting a runtime some ten times.
    """
    effort = Effort(budget_s=budget_s, rel_ci=0.05, kernels=False)
    result = run_measurement([model], device="host", settings=SETTINGS, effort=effort, store=store)
    estimate: dict[str, Any] = result.models[0].latency_s.to_json()
    return estimate


def host_table(space: Digits, networks: int, store: str | None) -> Any:
    """The host's block table, its relative error, and what it was fitted to.

    Every network is timed in one process only: the fit averages over networks what more
    processes for each would average, at a fraction of the time.

    Returns:
        (table, spread, codes, seconds)
    """
    rng = np.random.default_rng(0)
    codes = np.unique(np.concatenate([space.sample(networks, rng), _covering(space, rng)]), axis=0)
    models = [space.build(text) for text in space.decode(codes)]
    effort = Effort(budget_s=10.0 * len(models), kernels=False, once=True)
    result = run_measurement(models, device="host", settings=SETTINGS, effort=effort, store=store)
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


def warmed(data: Data, epochs: int, seed: int = 0) -> Supernet:
    """A supernet whose shared weights were trained on random paths: every limit starts from it."""
    torch.manual_seed(seed)
    paths = [[choice(*layer, option) for option in options]
             for layer, options in zip(layers(), Digits().blocks.values(), strict=True)]  # fmt: skip
    supernet = Supernet(stem(), paths, head()).to(memory_format=torch.channels_last)
    source = batches(data.train, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.Adam(supernet.network_parameters(), lr=2e-3)
    supernet.train()
    for _ in range(epochs):
        for x, y in source():
            loss = torch.nn.functional.cross_entropy(supernet(x, supernet.single_path()), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return supernet


def search(warm: Supernet, table: Any, limit_s: float, data: Data, epochs: int, seed: int) -> Any:
    """Logits and supernet for one limit."""
    torch.manual_seed(seed)
    supernet = copy.deepcopy(warm)
    generator = torch.Generator().manual_seed(seed)
    price = LatencyLoss(table, limit_s, "target", weight=1.0)
    logits = train_supernet(
        supernet, batches(data.train, generator), batches(data.held_out, generator), price,
        "fbnet", Schedule(warm_up=0, epochs=epochs),
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


class Trained:
    """Networks of the space, each trained once, all equally long."""

    def __init__(self, space: Digits, data: Data, epochs: int) -> None:
        self._space, self._data, self._epochs = space, data, epochs
        self._known: dict[tuple[int, ...], Any] = {}

    def __call__(self, code: Any) -> Any:
        """(module, held-out accuracy, test accuracy)."""
        key = tuple(int(c) for c in code)
        if key not in self._known:
            torch.manual_seed(1000)
            module = train(self._space.module(code), self._data.train, self._epochs, 1)
            self._known[key] = (module, accuracy(module, self._data.held_out),
                                accuracy(module, self._data.test))  # fmt: skip
        return self._known[key]


def one_limit(warm: Supernet, trained: Trained, table: Any, limit_s: float, data: Data, args: Any,
              seed: int) -> Any:  # fmt: skip
    """Searches, trains, exports and measures until a network meets the limit as measured."""
    space = Digits()
    logits, supernet = search(warm, table, limit_s, data, args.search_epochs, seed)
    bound, found = 0.95 * limit_s, None
    for attempt in range(ATTEMPTS):
        drawn = finalists(logits, supernet, table, bound, data)[:FINALISTS]
        if not drawn:
            break
        code = max(drawn, key=lambda c: trained(c)[1])
        module, held_out, test = trained(code)
        real = measured(to_onnx(module), args.budget_s, args.store)
        high = real["value"] * 1.25 if real["high"] is None else real["high"]
        meets = real["high"] is not None and high <= limit_s
        found = {"limit_s": limit_s, "architecture": space.decode(code[None])[0],
                 "predicted_s": float(table.predict(code[None])[0, 0]), "latency_s": real,
                 "meets": meets, "attempts": attempt + 1, "held_out": held_out,
                 "test": test}  # fmt: skip
        if meets:
            break
        # What was measured says by how much the table promises too much: bound the next by it.
        bound = 0.98 * min(bound, found["predicted_s"]) * limit_s / high
    if found is None:
        raise SystemExit(f"no network of the space costs less than {bound * 1e3:.3f} ms")
    return {**found, **_yardstick(space, trained, table, limit_s, args.random)}


def _yardstick(space: Digits, trained: Trained, table: Any, limit_s: float, n: int) -> Any:
    """Test accuracies of the first random networks that the table places within the limit.

    All limits draw from one sequence, so that networks that fit several are trained once.
    """
    codes = space.sample(20_000, np.random.default_rng(1000))
    reached = [trained(code)[2] for code in codes[table.predict(codes)[:, 0] <= limit_s][:n]]
    return {"random_best": max(reached), "random_mean": float(np.mean(reached)),
            "random_networks": len(reached)}  # fmt: skip


def _line(row: Any) -> str:
    real = row["latency_s"]
    high = "no interval" if real["high"] is None else f"{real['high'] * 1e3:.3f}"
    return (f"{row['limit_s'] * 1e3:8.3f}  {row['predicted_s'] * 1e3:9.3f}  "
            f"{real['value'] * 1e3:7.3f} ({high})  {row['meets']!s:5}  {row['test']:6.2f}  "
            f"{row['random_best']:.2f} ({row['random_mean']:.2f})")  # fmt: skip


def main() -> None:
    """Runs the whole search and prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, to see it run")
    parser.add_argument("--json")
    parser.add_argument("--store", help="where measurements are kept; a run cut off goes on")
    args = parser.parse_args()
    args.epochs, args.search_epochs, args.random = (3, 1, 3) if args.quick else (10, 4, 20)
    args.networks, args.budget_s = (22, 6.0) if args.quick else (36, 20.0)
    torch.set_num_threads(1)
    space, data, started = Digits(), digits(), time.monotonic()
    table, spread, codes, _ = host_table(space, args.networks, args.store)
    print(f"table from {len(codes)} networks of this host, relative error {100 * spread:.1f} %, "
          f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    warm, trained = warmed(data, args.epochs), Trained(space, data, args.epochs)
    print(f"shared weights trained, {time.monotonic() - started:.0f} s", flush=True)
    sampled = table.predict(space.sample(5000, np.random.default_rng(5)))[:, 0]
    rows = []
    print("limit ms  predicted  measured (high)  meets  test %  best of random (mean)")
    for seed, quantile in enumerate(QUANTILES):
        limit_s = float(np.quantile(sampled, quantile))
        rows.append(one_limit(warm, trained, table, limit_s, data, args, seed))
        print(_line(rows[-1]), flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps({"rows": rows, "spread": spread}, indent=2))
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
