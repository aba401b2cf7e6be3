"""Running a model that the host compiled with TVM, on the device.

The library holds ``main``; ``lwprof_stamped``, which reads the clock before and
after each kernel into a tensor; ``lwprof_empty``, which does everything but the
kernels; and ``lwprof_describe``, which names them.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from typing import Any, Dict, List, Tuple

import numpy

from .failures import Failure

STAMPED = "lwprof_stamped"
EMPTY = "lwprof_empty"
DESCRIBE = "lwprof_describe"
INSTALL_HINT = "pip install 'lwprof[tvm]'"

#: Runs of ``lwprof_empty`` at the end of profiling, and the most time they may take.
GAP_RUNS = 200
GAP_SECONDS = 0.25


def load(path: str, options: Dict[str, Any], feeds: Dict[str, Any]) -> Any:
    """Load a compiled model.

    Args:
        path: the shared library.
        options: runtime options: ``threads``, ``profile``, and for one kernel
            alone ``kernel``: {"function", "arguments": [{"dtype", "shape"}], "repeats"}.
        feeds: the graph's inputs by name, as numpy arrays.

    Returns:
        A Session, or a KernelSession when ``options`` name a kernel.
    """
    tvm, machine = _import(int(options.get("threads") or 1))
    library = _open(tvm, path)
    kernel = options.get("kernel")
    if kernel:
        return KernelSession(tvm, machine, library, kernel)
    return Session(tvm, machine, library, feeds, bool(options.get("profile")))


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
            os.symlink(path, link)
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
    """

    def __init__(
        self, tvm: Any, machine: Any, library: Any, feeds: Dict[str, Any], profile: bool
    ) -> None:
        self.providers = ["tvm"]
        self._tvm = tvm
        self._vm = machine(library, tvm.cpu())
        self._about = _describe(self._vm)
        self.output_names = [str(name) for name in self._about["outputs"]]
        self._inputs = self._arguments(feeds)
        self._kernels: Any = self._about["kernels"]
        self._stamps: Any = None
        self._rows: List[Tuple[int, Any]] = []
        self._output: Any = None
        arguments, function = self._inputs, "main"
        if profile:
            arguments, function = self._with_stamps(), STAMPED
        self._vm.save_function(function, "lwprof_run", *arguments)
        self._call = self._vm["lwprof_run"]

    def _arguments(self, feeds: Dict[str, Any]) -> List[Any]:
        missing = [name for name in self._about["inputs"] if name not in feeds]
        if missing:
            raise Failure("model", "no data for the input %s" % ", ".join(missing), side="host")
        tensor = self._tvm.runtime.tensor
        return [tensor(numpy.ascontiguousarray(feeds[n])) for n in self._about["inputs"]]

    def _with_stamps(self) -> List[Any]:
        if self._kernels is None:
            raise Failure(
                "profile", "this model branches, so TVM's kernels cannot be timed one by one"
            )
        places = 2 * len(self._kernels) + 2
        self._stamps = self._tvm.runtime.tensor(numpy.zeros((places, 2), dtype="int64"))
        return [*self._inputs, self._stamps]

    def run(self) -> None:
        """One inference."""
        if self._stamps is None:
            self._output = self._call()
            return
        start = time.perf_counter_ns()
        self._output = self._call()
        end = time.perf_counter_ns()
        self._rows.append((end - start, self._stamps.numpy()))

    def outputs(self) -> List[Any]:
        """The outputs of the last run, as numpy arrays."""
        return _arrays(self._output)

    def profile_start(self) -> None:
        """Forget the runs made so far (load, warm-up)."""
        self._rows = []

    def profile_end(self) -> Dict[str, Any]:
        """End profiling.

        Returns:
            ``nodes`` (name, op, provider); ``durations_ns``, for each run one value
            per node; ``run_ns``, the duration of each run; ``bias_ns``, for each
            run what the clock readings add to one node's duration (seen between
            two readings with nothing between them; not subtracted here);
            ``gap_ns``, durations of runs without the kernels.
        """
        durations, runs, bias = [], [], []
        for run_ns, stamps in self._rows:
            at = stamps[:, 0] * 1000000000 + stamps[:, 1]
            bias.append(int(at[1] - at[0]))
            durations.append([int(d) for d in at[3::2] - at[2::2]])
            runs.append(int(run_ns))
        return {
            "nodes": [dict(kernel, provider="tvm") for kernel in self._kernels or []],
            "durations_ns": durations,
            "run_ns": runs,
            "bias_ns": bias,
            "gap_ns": self._gap() if self._stamps is not None else [],
            "memory": {},
        }

    def _gap(self) -> List[int]:
        """Durations of runs without the kernels; the first is left out as warm-up."""
        self._vm.save_function(EMPTY, "lwprof_gap", *self._inputs)
        call = self._vm["lwprof_gap"]
        taken: List[int] = []
        deadline = time.perf_counter() + GAP_SECONDS
        while len(taken) <= GAP_RUNS and (len(taken) < 4 or time.perf_counter() < deadline):
            start = time.perf_counter_ns()
            call()
            taken.append(time.perf_counter_ns() - start)
        return taken[1:]

    def close(self) -> None:
        """Let the model go."""
        self._call = self._output = self._stamps = self._vm = None
        self._inputs = []
        self._rows = []


class KernelSession:
    """One fused function alone, on random data, repeated inside the runtime.

    Two sessions with different numbers of repeats give the time of one call as a
    slope, which leaves the cost of the call itself out.
    """

    def __init__(self, tvm: Any, machine: Any, library: Any, kernel: Dict[str, Any]) -> None:
        self.providers = ["tvm"]
        self.output_names = ["output"]
        self._vm = machine(library, tvm.cpu())
        random = numpy.random.RandomState(0)
        self._arguments = [
            tvm.runtime.tensor(_random(random, str(a["dtype"]), a["shape"]))
            for a in kernel["arguments"]
        ]
        repeats = int(kernel.get("repeats", 1))
        try:
            self._timer = library.time_evaluator(
                str(kernel["function"]), tvm.cpu(), number=repeats, repeat=1
            )
        except Exception as error:
            raise Failure("model", "no such kernel in the library: %s" % error) from error

    def run(self) -> None:
        """Call the function ``repeats`` times, and once more before."""
        self._timer(*self._arguments)

    def outputs(self) -> List[Any]:
        """The last argument, which the function writes."""
        return [self._arguments[-1].numpy()]

    def profile_start(self) -> None:
        """Nothing to forget."""

    def profile_end(self) -> Dict[str, Any]:
        """There is nothing below one function."""
        return {"nodes": [], "durations_ns": [], "run_ns": [], "memory": {}}

    def close(self) -> None:
        """Let the library go."""
        self._timer = self._vm = None
        self._arguments = []


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


def _random(random: Any, dtype: str, shape: Any) -> Any:
    if dtype.startswith("float"):
        return random.standard_normal(shape).astype(dtype)
    # Small whole numbers: indices stay in range for most operators.
    return random.randint(0, 2, size=shape).astype(dtype)
