"""Malformed and hostile models through the real command line.

Bar: 500 models, for each one clear line, exit code 2, no traceback, bounded time and memory.
Valid models with random bytes changed are run as well: those may be read or refused, but
nothing else.

Each model is read in a forked child with limits of its own, by the same ``main`` that the
``lwprof`` command runs.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx.inliner
import onnx.reference  # noqa: F401
from figures import arguments, save
from hostile_samples import Sample, flipped, samples

from lwprof.cli.main import main
from lwprof.profiler.graph import inspection  # noqa: F401

_LIMIT_S = 20
_LIMIT_WALL_S = 120  # of a machine that others use as well
_LIMIT_BYTES = 3 * 2**30
_BAR_S, _BAR_BYTES = 10.0, 2**30


@dataclass(frozen=True)
class Outcome:
    """What one run of the command line did."""

    code: int
    text: str
    seconds: float  # of processor time
    peak_bytes: int

    @property
    def fault(self) -> str | None:
        """Why the run misses the bar, or None."""
        lines = self.text.splitlines()
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        if "Traceback" in self.text or "unexpected failure" in self.text:
            return "traceback"
        if self.code != 2:
            return f"exit code {self.code}"
        if len(lines) != 1 or not lines[0].startswith("lwprof: ") or not lines[0].isprintable():
            return f"{len(lines)} lines"
        if len(lines[0]) > 700:
            return f"a line of {len(lines[0])} characters"
        if self.seconds > _BAR_S or self.peak_bytes > _BAR_BYTES:
            return f"{self.seconds:.1f} s, {self.peak_bytes / 2**20:.0f} MiB"
        return None


def run(arguments_: list[str], scratch: Path) -> Outcome:
    """Runs the command line in a forked child under limits of CPU time and memory."""
    errors = scratch / "stderr"
    pid = os.fork()
    if pid == 0:
        _child(arguments_, errors)
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    text = errors.read_bytes().decode("utf-8", "replace")
    seconds = usage.ru_utime + usage.ru_stime
    return Outcome(code, text, seconds, usage.ru_maxrss * 1024)


def _child(arguments_: list[str], errors: Path) -> None:
    code = 99
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_LIMIT_S, _LIMIT_S))
        resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES, _LIMIT_BYTES))
        signal.alarm(_LIMIT_WALL_S)
        handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        main(arguments_)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def check(sample: Sample, scratch: Path) -> Outcome:
    """Inspects one sample."""
    return run(["inspect", sample.path], scratch)


def run_all(count: int, flips: int, show: bool, json_path: str | None) -> int:
    """Runs everything and prints the figures; returns the number of faults."""
    faults: list[str] = []
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    worst: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for sample in samples(scratch / "hostile", count):
            outcome = check(sample, scratch)
            kinds[sample.kind] += 1
            examples.setdefault(sample.kind, outcome.text.strip())
            worst["seconds"] = max(worst["seconds"], outcome.seconds)
            worst["mebibytes"] = max(worst["mebibytes"], outcome.peak_bytes / 2**20)
            if outcome.fault:
                faults.append(f"{sample.kind}: {outcome.fault}: {outcome.text[-200:]}")
        read = refused = 0
        for sample in flipped(scratch / "flipped", flips):
            outcome = check(sample, scratch)
            read, refused = read + (outcome.code == 0), refused + (outcome.code == 2)
            if outcome.code != 0 and outcome.fault:
                faults.append(f"{sample.kind}: {outcome.fault}: {outcome.text[-200:]}")
    if show:
        for kind, text in examples.items():
            print(f"{kind:22} {text[:200]}")
    figures = {"models": count, "kinds": len(kinds), "faults": len(faults), **worst,
               "flipped": flips, "flipped_read": read, "flipped_refused": refused}  # fmt: skip
    for fault in faults:
        print("FAULT", fault)
    print(
        f"{count} hostile models of {len(kinds)} kinds: {count - len(faults)} refused with one line "
        f"and exit 2, {len(faults)} faults (bar: 0)\n"
        f"worst: {worst['seconds']:.2f} s, {worst['mebibytes']:.0f} MiB\n"
        f"{flips} networks with flipped bytes: {read} read, {refused} refused, "
        f"{flips - read - refused} neither (bar: 0)"
    )
    save(json_path, figures)
    return len(faults)


if __name__ == "__main__":
    options = arguments(__doc__ or "", flips=300, show=0)
    quick = options.quick
    sys.exit(1 if run_all(96 if quick else 500, 40 if quick else options.flips,
                          bool(options.show), options.json) else 0)  # fmt: skip
