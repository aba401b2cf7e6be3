"""An interpreter whose ``onnxruntime`` is a double that misbehaves as its model file says.

The agent and its workers run unchanged; only the package they import is ours.
"""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

DOUBLE = """
import ctypes, json, os, signal, sys, time

__version__ = "0.0.double"


class GraphOptimizationLevel:
    ORT_ENABLE_ALL = ORT_ENABLE_EXTENDED = ORT_ENABLE_BASIC = ORT_DISABLE_ALL = 0


class SessionOptions:
    profile_file_prefix = ""
    def add_session_config_entry(self, name, value):
        pass


class Output:
    name = "y"
    type = "tensor(float)"


def get_available_providers():
    return ["CPUExecutionProvider", "FastExecutionProvider"]


class InferenceSession:
    def __init__(self, path, options, providers=(), disabled_optimizers=None):
        with open(path) as file:
            self.what = json.load(file)
        self.options, self.providers, self.count = options, providers, 0
        self._do("load")

    def _do(self, when):
        what = self.what.get(when)
        if what == "noise":
            os.write(1, b"\\xff\\xff\\xff\\x7fnoise on descriptor 1\\n" * 50)
            ctypes.CDLL(None).puts(b"noise from C")
            ctypes.CDLL(None).fflush(None)
            print("noise from Python", flush=True)
            print("noise on stderr", file=sys.stderr, flush=True)
        elif what == "hang":
            time.sleep(1000)
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "abort":
            print("terminate called after throwing \\x1b[31mstd::bad_thing", file=sys.stderr, flush=True)
            os.abort()
        elif what == "exit":
            os._exit(3)
        elif what == "memory":
            raise MemoryError
        elif what == "raise":
            raise RuntimeError("line one\\nline \\x1b[31mtwo")
        elif what == "close":
            import glob
            for entry in glob.glob("/proc/self/fd/*"):
                number = int(entry.rsplit("/", 1)[1])
                if number > 2:
                    try:
                        os.close(number)
                    except OSError:
                        pass

    def run(self, names, feeds):
        import numpy
        self.count += 1
        if self.count >= self.what.get("after", 1):
            self._do("run")
        time.sleep(self.what.get("sleep", 0.0))
        return [numpy.zeros(3, "float32")]

    def get_providers(self):
        return self.what.get("providers", list(self.providers))

    def get_outputs(self):
        return [Output()]

    def disable_fallback(self):
        pass

    def end_profiling(self):
        path = self.options.profile_file_prefix + ".json"
        with open(path, "w") as file:
            file.write(self.what.get("profile", "[]"))
        return path
"""


def interpreter(folder: Path) -> str:
    """A Python with numpy and the double."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "onnxruntime.py").write_text(DOUBLE)
    (site / "numpy_from_here.pth").write_text(sysconfig.get_paths()["platlib"] + "\n")
    return str(folder / "bin" / "python")
