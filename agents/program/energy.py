"""The ``energy`` step: idle stretches and repeated inferences while a power sensor is read.

The host says which windows in which order; raw samples and the windows' edges go back, on one
clock. No joule is computed here.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List

from . import checks
from .failures import Failure
from .instruments import finding
from .peer import Peer
from .sampling import Sampler

_MOST_WINDOWS = 4096
_MOST_WINDOW_S = 3600.0

Ask = Callable[[Dict[str, Any], float], Dict[str, Any]]


def execute(
    step: Dict[str, Any], ask: Ask, peer: Peer, avoid: List[int], left: Callable[[float], float]
) -> Dict[str, Any]:
    """Runs the windows of one step.

    Args:
        step: ``family`` and ``name`` of the sensor, ``rails`` (those to read; none: all),
            ``period_s`` or null, ``windows``: each
            with ``kind`` ("idle" or "run"), ``seconds``, ``session`` and ``rate_hz`` or null (for
            "run"), and ``sampled`` (false pauses the sampler).
        ask: sends one step to the worker.
        peer: the host, listened to while idle.
        avoid: processors of the worker.
        left: caps a number of seconds by what is left of the block's time.

    Raises:
        Failure: kind ``sensor``: it is not there, or cannot be opened.
    """
    family = checks.text(step.get("family"), "family", 64)
    name = checks.text(step.get("name"), "name", 256)
    period_s = checks.optional_number(step.get("period_s"), "period_s", 1e-3, 60.0)
    windows = checks.items(step.get("windows"), "windows", _MOST_WINDOWS)
    seed = checks.integer(step.get("seed", 0), "seed", 0, 2**63)
    rails = [
        checks.text(label, "rail", 256) for label in checks.items(step.get("rails") or [], "rails")
    ]
    try:
        sensor = finding.by_name(family, name)
        if rails:
            sensor.only(rails)
        sampler = Sampler(sensor, period_s, avoid, seed)
        sampler.start()
    except (LookupError, OSError) as error:
        raise Failure("sensor", "the power sensor %s %s: %s" % (family, name, error)) from None
    done: List[Dict[str, Any]] = []
    samples: Dict[str, Any] = {}
    try:
        for window in windows:
            if checks.flag(window.get("sampled", True), "sampled"):
                sampler.resume()
            else:
                sampler.pause()
            done.append(_window(window, ask, peer, left))
    finally:
        samples = sampler.stop()
    return {"sensor": sensor.to_json(), "samples": samples, "windows": done}


def _window(
    window: Dict[str, Any], ask: Ask, peer: Peer, left: Callable[[float], float]
) -> Dict[str, Any]:
    kind = checks.choice(window.get("kind"), "kind", ("idle", "run"))
    seconds = checks.number(window.get("seconds"), "seconds", 0, _MOST_WINDOW_S)
    sampled = bool(window.get("sampled", True))
    if kind == "run":
        asked = {"do": "repeat", "session": window.get("session"), "seconds": seconds,
                 "rate_hz": window.get("rate_hz")}  # fmt: skip
        result = ask(asked, left(2 * seconds + 60.0))
        found = {key: result[key] for key in ("t0_ns", "t1_ns", "n")}
        found.update(kind="run", session=window.get("session"), sampled=sampled)
        return found
    start = time.monotonic_ns()
    _sleep(peer, left(seconds))
    return {"kind": "idle", "t0_ns": start, "t1_ns": time.monotonic_ns(), "sampled": sampled}


def _sleep(peer: Peer, seconds: float) -> None:
    """Idles, but hears the host."""
    read, write = os.pipe()
    try:
        peer.wait(read, time.monotonic() + seconds)
    finally:
        os.close(read)
        os.close(write)
