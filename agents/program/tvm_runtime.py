"""Running a model that the host compiled with TVM, on the device.

The library holds ``main``; ``lwprof_stamped``, which reads the clock before and
after each kernel into a tensor; ``lwprof_empty``, which does everything but the
kernels; and ``lwprof_describe``, which names them.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import time
from typing import Any, Dict, List, Tuple

import numpy

from . import checks
from .failures import Failure

STAMPED = "lwprof_stamped"
EMPTY = "lwprof_empty"
DESCRIBE = "lwprof_describe"
INSTALL_HINT = "pip install 'lwprof[tvm]'"

#: Runs of ``lwprof_empty`` at the end of profiling, and the most time they may take.
GAP_RUNS = 200
GAP_SECONDS = 0.25


def import_runtime(options: Dict[str, Any]) -> None:
    """Imports what ``load`` needs, so that memory and time of loading are the model's own."""
    _import(_threads(options))


def load(path: str, options: Dict[str, Any], feeds: Dict[str, Any]) -> Any:
    """Load a compiled model.

    Args:
        path: the shared library.
        options: runtime options: ``threads``, ``profile``, and for one kernel
            alone ``kernel``: {"function", "arguments": [{"dtype", "shape"}], "repeats"}.
        feeds: the graph's inputs by name, as numpy arrays.

    Returns:
        A Session, a ProfiledSession, or a KernelSession when ``options`` name a kernel.

    Raises:
        Failure: kinds ``runtime_missing``, ``model``, ``profile``.
    """
    tvm, machine = _import(_threads(options))
    library = _open(tvm, path)
    kernel = options.get("kernel")
    if kernel is not None:
        return KernelSession(tvm, library, checks.mapping(kernel, "kernel"))
    made = ProfiledSession if options.get("profile") else Session
    return made(tvm, machine(library, tvm.cpu()), feeds)


def _threads(options: Dict[str, Any]) -> int:
    return checks.integer(options.get("threads", 1), "threads", 1, 4096)


def _import(threads: int) -> Tuple[Any, Any]:
    """Import TVM with its thread pool at ``threads``; the pool reads it once."""
    os.environ.setdefault("TVM_NUM_THREADS", str(threads))
    try:
        import tvm
        from tvm.runtime.vm import VirtualMachine
    except (ImportError, OSError, RuntimeError) as error:
        raise Failure(
            "runtime_missing", "TVM does not load here (%s); run %s" % (error, INSTALL_HINT)
        ) from error
    configure = tvm.get_global_func("runtime.config_threadpool", True)
    if configure is not None:
        configure(1, threads)
    return tvm, VirtualMachine


def _open(tvm: Any, path: str) -> Any:
    """Load a library whatever its file is called; TVM goes by the suffix."""
    path = os.path.abspath(path)
    folder = None
    try:
        if not path.endswith(".so"):
            folder = tempfile.mkdtemp(prefix="lwprof-")
            link = os.path.join(folder, "model.so")
            # TVM follows a symbolic link before it looks at the suffix.
            try:
                os.link(path, link)
            except OSError:  # another file system
                shutil.copyfile(path, link)
            path = link
        return tvm.runtime.load_module(path)
    except Exception as error:
        raise Failure("model", "TVM cannot load the compiled model: %s" % error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class Session:
    """One compiled model, ready to run.

    Attributes:
        providers: always ["tvm"].
        output_names: names of the graph's outputs, in the order of outputs().
        run: the timed call: the virtual machine's ``main`` on inputs set before.
    """

    function = "main"

    def __init__(self, tvm: Any, machine: Any, feeds: Dict[str, Any]) -> None:
        self.providers = ["tvm"]
        self._tvm = tvm
        self._machine = machine
        self._about = _describe(machine)
        self.output_names = [str(name) for name in self._about["outputs"]]
        self._inputs = self._tensors(feeds)
        machine.save_function(self.function, "lwprof_run", *self._arguments())
        self.run = machine["lwprof_run"]

    def _tensors(self, feeds: Dict[str, Any]) -> List[Any]:
        missing = [name for name in self._about["inputs"] if name not in feeds]
        if missing:
            raise Failure("model", "no data for the input %s" % ", ".join(missing), side="host")
        tensor = self._tvm.runtime.tensor
        return [tensor(numpy.ascontiguousarray(feeds[n])) for n in self._about["inputs"]]

    def _arguments(self) -> List[Any]:
        return self._inputs

    def first(self) -> List[Any]:
        """One inference and its outputs."""
        return _arrays(self.run())

    def outputs(self) -> List[Any]:
        """Outputs of one more inference."""
        return self.first()

    def profile_end(self) -> Dict[str, Any]:
        """Refuses: only a session loaded with ``profile`` has one."""
        raise Failure("request", "this session is not profiled", side="host")

    def close(self) -> None:
        """Let the model go."""
        self.run = _closed
        self._machine = None
        self._inputs = []


class ProfiledSession(Session):
    """One compiled model that reads the clock around each kernel."""

    function = STAMPED

    def __init__(self, tvm: Any, machine: Any, feeds: Dict[str, Any]) -> None:
        self._stamps: Any = None
        self._rows: List[Tuple[int, Any]] = []
        self._output: Any = None
        super().__init__(tvm, machine, feeds)
        self._stamped = self.run
        self.run = self._run

    def _arguments(self) -> List[Any]:
        kernels = self._about["kernels"]
        if kernels is None:
            raise Failure(
                "profile", "this model branches, so TVM's kernels cannot be timed one by one"
            )
        places = 2 * len(kernels) + 2
        self._stamps = self._tvm.runtime.tensor(numpy.zeros((places, 2), dtype="int64"))
        return [*self._inputs, self._stamps]

    def _run(self) -> None:
        start = time.perf_counter_ns()
        self._output = self._stamped()
        end = time.perf_counter_ns()
        self._rows.append((end - start, self._stamps.numpy()))

    def first(self) -> List[Any]:
        """One inference and its outputs."""
        self.run()
        return self.outputs()

    def outputs(self) -> List[Any]:
        """Outputs of the latest inference."""
        return _arrays(self._output)

    def profile_end(self) -> Dict[str, Any]:
        """End profiling.

        Returns:
            ``nodes`` (name, op, provider); ``durations_ns``, for each run since the
            session was loaded one value per node; ``run_ns``, the duration of each
            run; ``bias_ns``, for each run what the clock readings add to one node's
            duration (seen between two readings with nothing between them; not
            subtracted here); ``gap_ns``, durations of runs without the kernels.
        """
        durations, runs, bias = [], [], []
        for run_ns, stamps in self._rows:
            at = stamps[:, 0] * 1000000000 + stamps[:, 1]
            bias.append(int(at[1] - at[0]))
            durations.append([int(d) for d in at[3::2] - at[2::2]])
            runs.append(int(run_ns))
        return {
            "nodes": [dict(kernel, provider="tvm") for kernel in self._about["kernels"]],
            "durations_ns": durations,
            "run_ns": runs,
            "bias_ns": bias,
            "gap_ns": self._gap(),
            "memory": {},
        }

    def _gap(self) -> List[int]:
        """Durations of runs without the kernels; the first is left out as warm-up."""
        self._machine.save_function(EMPTY, "lwprof_gap", *self._inputs)
        call = self._machine["lwprof_gap"]
        taken: List[int] = []
        deadline = time.perf_counter() + GAP_SECONDS
        while len(taken) <= GAP_RUNS and (len(taken) < 4 or time.perf_counter() < deadline):
            start = time.perf_counter_ns()
            call()
            taken.append(time.perf_counter_ns() - start)
        return taken[1:]

    def close(self) -> None:
        """Let the model go."""
        super().close()
        self._stamped = _closed
        self._output = self._stamps = None
        self._rows = []


class KernelSession:
    """One fused function alone, on random data, repeated inside the runtime.

    Two sessions with different numbers of repeats give the time of one call as a
    slope, which leaves the cost of the call itself out.

    Attributes:
        providers: always ["tvm"].
        run: calls the function ``repeats`` times, and once more before.
    """

    def __init__(self, tvm: Any, library: Any, kernel: Dict[str, Any]) -> None:
        self.providers = ["tvm"]
        self.output_names = ["output"]
        function = checks.text(kernel.get("function"), "function")
        repeats = checks.integer(kernel.get("repeats", 1), "repeats", 1, 10**6)
        random = numpy.random.RandomState(0)
        self._arguments = [
            tvm.runtime.tensor(_random(random, checks.mapping(argument, "argument")))
            for argument in checks.items(kernel.get("arguments"), "arguments")
        ]
        # The executable itself only knows the model; what it imports holds the kernels.
        holder = next((m for m in library.imports if m.implements_function(function)), None)
        if holder is None:
            raise Failure("model", "no such kernel in the library: %s" % function, side="host")
        timer = holder.time_evaluator(function, tvm.cpu(), number=repeats, repeat=1)
        self.run = functools.partial(timer, *self._arguments)

    def outputs(self) -> List[Any]:
        """The last argument, which the function writes."""
        return [self._arguments[-1].numpy()]

    def profile_end(self) -> Dict[str, Any]:
        """Refuses: there is nothing below one function."""
        raise Failure("request", "one kernel alone is not profiled", side="host")

    def close(self) -> None:
        """Let the library go."""
        self.run = functools.partial(_closed)
        self._arguments = []


def _closed(*arguments: Any) -> None:
    raise Failure("request", "this session is closed", side="host")


def _describe(machine: Any) -> Dict[str, Any]:
    """What the library says of itself: names of inputs, outputs and kernels."""
    try:
        about = json.loads(machine[DESCRIBE]().numpy().tobytes().decode())
        return {key: about[key] for key in ("inputs", "outputs", "kernels")}
    except Exception as error:
        raise Failure("model", "the library was not made by lwprof, or is damaged") from error


def _arrays(value: Any) -> List[Any]:
    """Flatten tensors and nested tuples of tensors into a list of arrays."""
    if value is None:
        return []
    if hasattr(value, "numpy"):
        return [value.numpy()]
    return [array for item in value for array in _arrays(item)]


def _random(random: Any, argument: Dict[str, Any]) -> Any:
    dtype = checks.text(argument.get("dtype"), "dtype", 32)
    shape = checks.integers(argument.get("shape"), "shape", 0, 2**31)
    if dtype.startswith("float"):
        return random.standard_normal(shape).astype(dtype)
    # Small whole numbers: indices stay in range for most operators.
    return random.randint(0, 2, size=shape).astype(dtype)
