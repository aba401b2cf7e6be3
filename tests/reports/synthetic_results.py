"""Results made up for the reports' tests and benchmark; every one says that it is synthetic."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

CONTEXT = {
    "hardware_id": "made-up-unit-0001", "runtime": "onnxruntime", "runtime_version": "1.0",
    "provider": "CPU", "threads": 1, "precision": "as_in_file", "environment": "synthetic",
    "affinity": [0], "batch": None, "power_mode": None, "options": {}, "key": "c1:0",
    "device": "made-up", "board": "orin_nano",
    "facts": {"hostname": "secret-host-7", "cpu": "none", "os": "none", "memory_bytes": 2**30},
}  # fmt: skip
OPERATORS = (["Conv", "Relu"], ["Conv"], ["Gemm"], ["MaxPool"], ["Add"])


def estimate(value: float, source: str = "measured") -> dict[str, Any]:
    """An estimate with an interval that is not symmetric."""
    return {"value": value, "low": value * 0.93, "high": value * 1.08, "level": 0.95,
            "source": source, "blocks": 9, "n": 90}  # fmt: skip


def measurement(kernels: int = 12, *, energy: bool = True, scale: float = 1.0) -> dict[str, Any]:
    """A ``lwprof.measurement/1`` of one model, with everything that a result may hold."""
    draw = random.Random(kernels)
    made = []
    for i in range(kernels):
        seconds = draw.uniform(1e-6, 1e-3) * scale
        operators = OPERATORS[i % len(OPERATORS)]
        made.append({
            "workload": f"w1:{i:064x}", "operators": list(operators), "nodes": [f"node_{i}"],
            "count": 1, "macs": int(seconds * 2e10) if i % 5 < 3 else 0,
            "bytes": draw.randint(1000, 10**6),
            "latency_s": estimate(seconds) | ({"at_most": True} if i == 4 else {}),
            "isolated_latency_s": estimate(seconds * 0.9) | {"low": -1e-6} if i % 2 else None,
            "energy_j": estimate(seconds * 3) if energy else None, "provider": "CPU",
        })  # fmt: skip
    made[-1]["nodes"] = []
    total = sum(k["latency_s"]["value"] for k in made)
    model = {
        "name": "made_up_net", "sha256": "ab" * 32, "latency_s": estimate(total * 1.02),
        "latency_p95_s": estimate(total * 1.1), "latency_p99_s": None,
        "load_s": estimate(0.04), "first_inference_s": estimate(0.03),
        "energy_j": estimate(total * 4) if energy else None,
        "energy_above_idle_j": estimate(total * 3) if energy else None,
        "power_w": estimate(4.0) if energy else None,
        "energy_scope": {"sensor": "made up", "rails": ["VDD"]} if energy else None,
        "peak_memory_bytes": estimate(2.0e7), "gap_s": estimate(2e-5),
        "closure": {"sum_s": total + 2e-5, "end_to_end_s": total * 1.01, "error": -0.004},
        "verdict": "ok", "reason": None, "flags": ["competing_load"], "macs": 10**8,
        "params": 10**6, "kernels": made,
        "blocks": [{"median_s": total * (1 + 0.01 * (i % 3)), "n": 10,
                    "flags": ["throttled"] if i == 2 else [], "sequence": i} for i in range(9)],
    }  # fmt: skip
    return {"schema": "lwprof.measurement/1", "device": "made-up", "context": copy.deepcopy(CONTEXT),
            "started": "2026-01-02T03:04:05.000000Z", "duration_s": 12.5, "run": "0" * 32,
            "models": [model], "workloads": {}}  # fmt: skip


def comparison() -> dict[str, Any]:
    """A ``lwprof.comparison/1`` with a gate."""
    side = {"name": "net_a", "sha256": "cd" * 32, "context": copy.deepcopy(CONTEXT),
            "latency_s": estimate(0.010)}  # fmt: skip
    other = copy.deepcopy(side) | {"name": "net_b", "latency_s": estimate(0.008)}
    other["context"]["threads"] = 2
    return {"schema": "lwprof.comparison/1", "device": "made-up", "verdict": "different",
            "reason": None, "ratio": estimate(0.8), "ratios": {"latency_s": estimate(0.8),
            "energy_j": None, "peak_memory_bytes": estimate(1.1)}, "margin": 0.03,
            "minimum_detectable_effect": 0.02, "p_value": 0.001, "pairs": 12,
            "flags": ["competing_load"], "a": side, "b": other, "duration_s": 60.0,
            "gate": {"outcome": "pass", "latency": {"limit": 1.05, "outcome": "pass"}}}  # fmt: skip


def audit(techniques: int = 8) -> dict[str, Any]:
    """A ``lwprof.audit/1``; the last technique was refused."""

    def line(i: int) -> dict[str, Any]:
        value = estimate(0.6 + 0.1 * i)
        return {"id": f"t{i}", "technique": f"technique {i}", "row": "", "applied": True,
                "reason": None, "equivalent": i % 2 == 0, "macs": 10**8 - i * 10**7,
                "params": 10**6, "size_bytes": 4 * 10**6, "peak_memory_bytes": 10**6,
                "predicted_latency_s": estimate(0.01, "predicted"), "latency_s": estimate(0.01),
                "energy_j": None, "ratio": value, "corrected_ratio": value, "p_value": 0.01,
                "verdict": "faster" if i < 3 else "slower", "recommended": i == 0,
                "output_error": 0.01 * i, "notes": [], "refused": {}}  # fmt: skip

    lines = [line(i) for i in range(techniques)]
    refused = dict.fromkeys(lines[-1]) | {"id": "last", "technique": "the last", "applied": False,
                                          "reason": "nothing to change", "equivalent": False}  # fmt: skip
    return {"schema": "lwprof.audit/1", "device": "made-up", "context": copy.deepcopy(CONTEXT),
            "model": {"name": "made_up_net", "sha256": "ab" * 32},
            "baseline": {"macs": 10**8, "params": 10**6, "size_bytes": 4 * 10**6,
                         "peak_memory_bytes": 10**6, "latency_s": estimate(0.01),
                         "predicted_latency_s": None, "energy_j": None},
            "transforms": [*lines, refused], "chain": {"steps": ["t0"], "limit_s": 0.007,
            "predicted_latency_s": None, "latency_s": estimate(0.006), "meets": True,
            "output_error": 0.0}, "rounds": 9, "flags": ["competing_load"], "data": "random",
            "pricing": "no table", "duration_s": 10.0}  # fmt: skip


def search() -> dict[str, Any]:
    """A ``lwprof.search/1``."""

    def point(i: int) -> dict[str, Any]:
        return {"architecture": f"|net_{i}~0|", "code": [i], "accuracy": 60 + i / 2,
                "merit": 60 + i / 2, "feasible": i < 20,
                "costs": {"latency_s": estimate(0.01 + 0.001 * i, "predicted")}}  # fmt: skip

    limit = {"quantity": "latency_s", "limit": 0.03, "probability": 0.95, "device": "made-up"}
    return {"schema": "lwprof.search/1", "space": "made up", "devices": ["made-up"],
            "environment": "synthetic", "strategy": "evolution", "blocks": [],
            "constraints": [limit], "best": point(19), "front": [point(i) for i in range(25)],
            "evaluations": 2000, "verified": [point(19) | {
                "predicted_latency_s": estimate(0.029, "predicted"), "latency_s": estimate(0.0285),
                "meets": True}],
            "reachable": [limit | {"least": 0.01, "code": [0], "exact": True}]}  # fmt: skip


def pruning() -> dict[str, Any]:
    """A ``lwprof.prune/1``."""

    def step(i: int) -> dict[str, Any]:
        return {"widths": {f"group_{j}": 64 - 4 * i for j in range(5)},
                "predicted": 0.05 - 0.004 * i,
                "measured": estimate(0.051 - 0.004 * i) if i % 3 == 0 else None,
                "accuracy": 0.9 - 0.01 * i, "output_error": 0.01 * i, "macs": 10**8 - 10**7 * i,
                "params": 10**6 - 10**5 * i, "size_bytes": 4 * 10**6,
                "peak_memory_bytes": 10**6}  # fmt: skip

    return {"schema": "lwprof.prune/1", "name": "made_up_net", "device": "made-up",
            "budget": {"quantity": "latency_s", "limit": 0.03}, "feasible": True, "minimum": None,
            "saliency": "l2", "selector": "greedy", "priced_by": "lookup table",
            "before": step(0), "after": step(6), "steps": [step(i) for i in range(7)],
            "refused": {"conv9": "feeds a reshape"}, "model_path": "/home/someone/net.onnx"}  # fmt: skip


def device() -> dict[str, Any]:
    """A ``lwprof.device/1`` with a fit and a staircase."""
    return {"schema": "lwprof.device/1", "device": "made-up", "context": copy.deepcopy(CONTEXT),
            "coverage": [{"operators": f"Conv+Op{i}", "kernels": 9 * i + 1, "fastest_s": 1e-6,
                          "slowest_s": 1e-3, "total_s": 0.01, "median_half_width": 0.03}
                         for i in range(9)],
            "models": [{"name": "net", "started": f"2026-01-0{i + 1}",
                        "latency_s": estimate(0.01 + i * 1e-4)} for i in range(8)],
            "staircases": [{"name": "Conv [1,64,56,56] [3,3]", "channels": [8, 16, 24, 32, 40],
                            "latency_s": [1e-3, 1.1e-3, 2e-3, 2.1e-3, 3e-3]}],
            "health": [{"started": f"2026-01-0{i + 1}", "kind": "measure", "blocks": 40,
                        "flagged": i, "flags": {"throttled": i} if i else {}} for i in range(8)],
            "fit": {"schema": "lwprof.fit/1", "advice": ["Gemm: only 3 kernels"], "families": [
                {"family": name, "kernels": 40, "median_error": error, "within_10_percent": 0.7,
                 "coverage_90": 0.88, "share_of_time": 0.4}
                for name, error in (("all", 0.08), ("Conv", 0.05), ("Gemm", 0.2))]}}  # fmt: skip


def matrix() -> dict[str, Any]:
    """A ``lwprof.measurements/1`` of two devices, and one that failed."""
    other = measurement(8, scale=2.0)
    other["device"] = "made-up-2"
    return {"schema": "lwprof.measurements/1", "results": [measurement(), other],
            "failures": [{"device": "made-up-3", "error": "unreachable"}]}  # fmt: skip


EVERY = {"model": measurement, "compare": comparison, "audit": audit, "search": search,
         "prune": pruning, "device": device, "matrix": matrix}  # fmt: skip
_KEPT = {"schema", "started", "board", "verdict", "quantity", "level", "source"}


def poisoned(data: Any, payloads: Iterator[str], name: str = "") -> Any:
    """A copy with a payload in every text, but those that decide how the rest is read."""
    if isinstance(data, dict):
        return {key: poisoned(value, payloads, key) for key, value in data.items()}
    if isinstance(data, list):
        return [poisoned(value, payloads, name) for value in data]
    return next(payloads) if isinstance(data, str) and name not in _KEPT else data


def payloads() -> list[str]:
    """200 texts that try to run a script or fetch something; each calls ``window.hit``."""
    run = "(window.hit=(window.hit||0)+1)"
    forms = [
        "<script>{r}</script>", "</script><script>{r}</script>", "<img src=x onerror={r}>",
        '"><img src=x onerror="{r}">', "'><svg onload={r}>", "<svg/onload={r}>",
        '" onmouseover="{r}" x="', "' onfocus='{r}' autofocus tabindex=1 x='",
        "<iframe srcdoc='<script>parent.{p}</script>'></iframe>", "javascript:{r}",
        "<a href='javascript:{r}'>x</a>", "<details open ontoggle={r}>x</details>",
        "<body onload={r}>", "<style onload={r}></style>", "<link rel=stylesheet href=//e.invalid>",
        "<img src=https://e.invalid/x>", "<object data='javascript:{r}'></object>",
        "--><script>{r}</script><!--", "<!--<script>", "]]><script>{r}</script>",
        "{{{{ cycler.__init__.__globals__ }}}}", "{{% for x in (1,) %}}{{% endfor %}}", "${{{r}}}",
        "$$\\href{{javascript:{r}}}{{x}}$$", "\\(x\\)<script>{r}</script>",
        "\\[\\text{{<img src=x onerror={r}>}}\\]", "@name{{safe}}<img src=x onerror={r}>",
        "@{{value}}{{safe}}", "&lt;script&gt;{r}&lt;/script&gt;", "&#60;img src=x onerror={r}&#62;",
        "\\u003cscript\\u003e{r}\\u003c/script\\u003e", "\x00<script>{r}</script>",
        "<scr\x00ipt>{r}</script>", "\u2028{r}\u2029", "';{r};//", "\";{r};//", "`;{r};//",
        "</style><script>{r}</script>", "</title><script>{r}</script>",
        "<math><mi xlink:href='javascript:{r}'>x</mi></math>",
    ]  # fmt: skip
    ways = [str, lambda t: f"A{t.upper()}", lambda t: f"\t{t}", lambda t: t * 2,
            lambda t: f"Conv{t}"]  # fmt: skip
    mark = "\ue000"  # the script itself keeps its letters
    return [way(form.format(r=mark, p=mark)).replace(mark, run) for way in ways for form in forms]
