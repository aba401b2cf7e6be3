"""The worker: a fresh process that loads models and times them, one step at a time.

It is told what to do over its standard input and answers over what was its standard
output; whatever a runtime prints goes to its log instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from typing import Any, Callable, Dict, List

from . import checks, framing, runtime_session, timing, usage
from .failures import Failure

_PR_SET_PDEATHSIG = 1
_READ = 1 << 16
_PER_RUN = ("durations_ns", "run_ns", "bias_ns", "calls")
# More than this in one step could not be sent in one frame.
_MOST_TIMES = 5000000


def main(parent: int) -> int:
    """Serves steps until standard input ends, or the process ``parent`` does."""
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a runtime's crash must not fill the disk
    out = os.dup(1)
    os.dup2(2, 1)
    worker = Worker()
    decoder = framing.FrameDecoder()
    while True:
        data = os.read(0, _READ)
        if not data:
            return 0
        for request in decoder.feed(data):
            framing.write_all(out, _answer(worker, request))


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return  # the end of standard input ends it then, between two steps
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel was asked


def _answer(worker: Worker, request: Dict[str, Any]) -> bytes:
    reply: Dict[str, Any] = {"id": request.get("id")}
    try:
        reply["ok"] = worker.execute(request)
        return framing.encode(reply)
    except Failure as failure:
        error = failure
    except framing.FrameError as failed:
        error = Failure("protocol", "a step's result cannot be sent: %s" % failed)
    except ImportError as missing:
        error = Failure("runtime_missing", "the device's Python lacks a module: %s" % missing)
    except MemoryError:
        error = Failure("memory", "the device has too little memory for this step")
    except Exception as unexpected:  # noqa: BLE001 - a runtime can raise anything
        error = Failure("internal", "%s: %s" % (type(unexpected).__name__, unexpected))
    return framing.encode({"id": request.get("id"), "error": error.to_json()})


class _Loaded:
    """A session and what was run on it."""

    def __init__(self, session: Any, profiled: bool) -> None:
        self.session = session
        self.profiled = profiled
        # One entry for each inference in order: whether a ``time`` step made it.
        self.timed: List[bool] = []


class Worker:
    """Executes steps on the sessions it holds."""

    def __init__(self) -> None:
        self._sessions: Dict[str, _Loaded] = {}
        self._memory: Dict[str, int] = {}
        self._profile_read = False
        self._steps: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "start": self._start,
            "load": self._load,
            "warm": self._warm,
            "time": self._time,
            "repeat": self._repeat,
            "profile": self._profile,
            "unload": self._unload,
            "prepare": self._prepare,
            "finish": self._finish,
            "runtimes": self._runtimes,
        }

    def execute(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """The result of one step.

        Raises:
            Failure: the step is malformed, or failed.
        """
        step = checks.mapping(request.get("step"), "step")
        do = checks.choice(step.get("do"), "do", tuple(self._steps))
        return self._steps[do](step)

    def _start(self, step: Dict[str, Any]) -> Dict[str, Any]:
        if step.get("affinity") is not None:
            wanted = checks.integers(step["affinity"], "affinity", 0, 65535)
            try:
                os.sched_setaffinity(0, wanted)
            except (OSError, ValueError) as error:
                raise checks.refuse(
                    "cannot run on the processors %s (%s): the device offers %s"
                    % (wanted, error, sorted(os.sched_getaffinity(0)))
                ) from None
        if step.get("nice") is not None:
            niceness = checks.integer(step["nice"], "nice", -20, 19)
            with contextlib.suppress(OSError):  # what it really is, is reported below
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
        return {
            "pid": os.getpid(),
            "affinity": sorted(os.sched_getaffinity(0)),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
        }

    def _load(self, step: Dict[str, Any]) -> Dict[str, Any]:
        from . import inputs, preparing  # these need numpy, which facts can do without

        name = checks.text(step.get("session"), "session", 256)
        if name in self._sessions:
            raise checks.refuse("session %r is loaded already" % name)
        options = checks.mapping(step.get("options"), "options")
        runtime_session.import_runtime(options)
        feeds = inputs.build(step.get("inputs"))
        if not self._memory:
            usage.reset_peak()
            self._memory["rss_start_bytes"] = usage.memory().get("rss_bytes", 0)
        start = time.perf_counter()
        session = runtime_session.load(checks.text(step.get("path"), "path"), options, feeds)
        load_s = time.perf_counter() - start
        loaded = _Loaded(session, bool(options.get("profile")))
        self._sessions[name] = loaded
        start = time.perf_counter()
        outputs = runtime_session.first(session)
        first_s = time.perf_counter() - start
        loaded.timed.append(False)
        self._note_memory()
        result = {
            "load_s": load_s,
            "first_inference_s": first_s,
            "providers": list(session.providers),
            "node_providers": {
                provider: len(nodes)
                for provider, nodes in getattr(session, "assignment", {}).items()
            },
            "outputs": preparing.describe(session.output_names, outputs),
        }
        if step.get("digest"):
            result["output_sha256"] = _digest(outputs)
        return result

    def _warm(self, step: Dict[str, Any]) -> Dict[str, Any]:
        chosen = self._chosen(step)
        runs = {name: loaded.session.run for name, loaded in chosen.items()}
        result = timing.warm(
            runs,
            checks.integer(step.get("min_n", 1), "min_n", 0, 10**6),
            checks.number(step.get("min_s", 0.0), "min_s", 0, 86400),
            checks.number(step.get("max_s", 60.0), "max_s", 0, 86400),
        )
        for name, count in result["runs"].items():
            chosen[name].timed += [False] * count
        self._note_memory()
        return result

    def _time(self, step: Dict[str, Any]) -> Dict[str, Any]:
        chosen = self._chosen(step)
        n = step.get("n")
        slices = checks.integer(step.get("slices", 1), "slices", 1, 10**6)
        order = checks.choice(step.get("order", "abba"), "order", ("abba", "random"))
        seed = checks.integer(step.get("seed", 0), "seed", 0, 2**63)
        slice_s = step.get("slice_s")
        if n is None and slice_s is None:
            raise checks.refuse("a time step needs n or slice_s")
        if n is not None and checks.integer(n, "n", 1, 10**6) * slices > _MOST_TIMES:
            raise checks.refuse("a time step may hold %d iterations at most" % _MOST_TIMES)
        work = timing.Step(
            {name: loaded.session.run for name, loaded in chosen.items()},
            slices,
            n,
            checks.number(slice_s if slice_s is not None else 0.0, "slice_s", 0, 86400),
            checks.number(step.get("max_s", 600.0), "max_s", 0, 7 * 86400),
            [name for name, loaded in chosen.items() if loaded.profiled],
        )
        result = work.execute(timing.slice_order(list(chosen), slices, order, seed))
        for name, parts in result["times_ns"].items():
            chosen[name].timed += [True] * sum(map(len, parts))
        self._note_memory()
        return result

    def _repeat(self, step: Dict[str, Any]) -> Dict[str, Any]:
        loaded = self._session(step.get("session"))
        if loaded.profiled:
            raise checks.refuse("a profiled session is not repeated: its profile would overflow")
        return timing.repeat(
            loaded.session.run,
            checks.number(step.get("seconds"), "seconds", 0, 86400),
            checks.optional_number(step.get("rate_hz"), "rate_hz", 1e-3, 1e6),
        )

    def _profile(self, step: Dict[str, Any]) -> Dict[str, Any]:
        loaded = self._session(step.get("session"))
        if not loaded.profiled:
            raise checks.refuse("session %r was loaded without profiling" % step.get("session"))
        # Reading a profile takes memory of our own, which is none of the model's.
        self._note_memory()
        self._profile_read = True
        loaded.profiled = False
        profile = dict(loaded.session.profile_end())
        made = len(loaded.timed)
        if len(profile["durations_ns"]) != made or len(profile["run_ns"]) != made:
            raise Failure(
                "profile",
                "the runtime's profile holds %d of %d runs (ONNX Runtime stops at a million "
                "events): time fewer iterations per block" % (len(profile["run_ns"]), made),
            )
        _keep_timed(profile, loaded.timed)
        if isinstance(profile.get("inner"), dict):
            profile["inner"] = dict(profile["inner"])
            _keep_timed(profile["inner"], loaded.timed)
        return profile

    def _unload(self, step: Dict[str, Any]) -> Dict[str, Any]:
        loaded = self._session(step.get("session"))
        del self._sessions[step["session"]]
        loaded.session.close()
        return {}

    def _prepare(self, step: Dict[str, Any]) -> Dict[str, Any]:
        from . import preparing

        return preparing.prepare(
            checks.text(step.get("path"), "path"),
            checks.mapping(step.get("options"), "options"),
            step.get("inputs"),
            checks.text(step.get("into"), "into"),
        )

    def _finish(self, step: Dict[str, Any]) -> Dict[str, Any]:
        self._note_memory()
        result: Dict[str, Any] = dict(usage.memory())
        result["major_faults"] = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        result.update(self._memory)
        return result

    def _runtimes(self, step: Dict[str, Any]) -> Dict[str, Any]:
        from . import runtimes

        return runtimes.installed()

    def _chosen(self, step: Dict[str, Any]) -> Dict[str, _Loaded]:
        names = checks.items(step.get("sessions"), "sessions", 4096)
        if not names or len(set(map(str, names))) != len(names):
            raise checks.refuse("sessions must name at least one session, each once")
        return {name: self._session(name) for name in names}

    def _session(self, name: Any) -> _Loaded:
        loaded = self._sessions.get(checks.text(name, "session", 256))
        if loaded is None:
            raise checks.refuse("no session %r is loaded" % name)
        return loaded

    def _note_memory(self) -> None:
        if not self._profile_read:
            now = usage.memory()
            for key in ("rss_peak_bytes", "rss_anon_bytes"):
                if key in now:
                    self._memory[key] = max(now[key], self._memory.get(key, 0))


def _keep_timed(profile: Dict[str, Any], timed: List[bool]) -> None:
    """Drops, from what has one entry for each run, the runs that no ``time`` step made."""
    for key in _PER_RUN:
        if key in profile:
            profile[key] = [row for row, keep in zip(profile[key], timed) if keep]


def _digest(outputs: List[Any]) -> str:
    """SHA-256 over the outputs' bytes, in order."""
    import hashlib  # slow to import, and seldom needed

    total = hashlib.sha256()
    for output in outputs:
        data = output.tobytes() if hasattr(output, "tobytes") else repr(output).encode()
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
