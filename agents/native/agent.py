"""Measuring with native programs: for devices that have neither Python nor a runtime.

``NativeAgent`` offers what a session asks of ``agents.Agent``. Each worker of a block is a
fresh process of the program that holds the network; the host tells it its steps one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lwprof.agents import reading
from lwprof.agents.client import ENVIRONMENTS, Agent, Prepared
from lwprof.agents.messages import BlockRecord, Facts, Output, Runtime, Snapshot
from lwprof.agents.native.asking import collect, snapshot
from lwprof.agents.native.block import NativeBlock
from lwprof.agents.native.program import NativeProgram, Slot
from lwprof.agents.native.worker import NativeWorker
from lwprof.agents.power_messages import Instruments
from lwprof.agents.targets._carrier import Carrier
from lwprof.errors import DeviceError, DeviceTransient, HostError, UsageError

_LOAD_S = 900.0
_HASH_S = 300.0


class NativeAgent(Agent):
    """A device that runs native programs. A context manager.

    Args:
        target: how to reach it; it stays the caller's to close.
        machine: what programs are made for; default: what the device says.
        runtime: version of the TVM that compiles the kernels; None: it is not installed.
    """

    def __init__(
        self, target: Carrier, *, machine: str | None = None, runtime: str | None = None
    ) -> None:
        super().__init__(target)
        self._carrier = target
        self._machine = machine
        self._runtime = runtime
        self._is_open = False
        self._programs: dict[str, tuple[NativeProgram, str, str | None]] = {}

    @property
    def alive(self) -> bool:
        """Whether it was opened; processes live only as long as their block."""
        return self._is_open

    def open(self) -> None:
        """Makes sure that the device answers.

        Raises:
            DeviceError: it does not.
        """
        self.ping()
        self._is_open = True

    def reopen(self) -> None:
        """As ``open``; what the device is said to hold is looked at again."""
        self.close()
        self._held.clear()
        self.open()

    def close(self) -> None:
        """Nothing runs between blocks. May be called again."""
        self._is_open = False

    def ping(self) -> float:
        """Seconds for one question and its answer."""
        start = time.monotonic()
        if self._carrier.run(["true"]).status != 0:
            raise DeviceError(f"{self.target.name}: its shell does not run commands")
        return time.monotonic() - start

    def facts(self) -> Facts:
        """What the device is; asked for once."""
        if self._facts is None:
            told = collect(self._carrier, self._machine)
            stand_in = self.target.environment
            if stand_in in ENVIRONMENTS[ENVIRONMENTS.index(told["environment"]) :]:
                told["environment"] = stand_in
            runtimes = {"tvm": Runtime(version=self._runtime)} if self._runtime else {}
            told["runtimes"] = msgspec.to_builtins(runtimes)
            self._facts = reading.read(told, Facts, self.target.name)
        return self._facts

    def instruments(self) -> Instruments:
        """None: sensors are read by the ordinary agent, or by shell from the host."""
        return Instruments(sensors=[], missing=[])

    def state(self) -> Snapshot:
        """Load, clocks and heat of the device now."""
        return reading.read(snapshot(self._carrier), Snapshot, self.target.name)

    def leftovers(self) -> list[tuple[dict[str, Any], BlockRecord]]:
        """None: its blocks do not outlive the host."""
        return []

    def put(self, source: bytes | Path | str) -> str:
        """Makes sure that the device holds a file; it travels once.

        Returns:
            Its SHA-256.

        Raises:
            HostError: the file cannot be read.
            DeviceTransient: it was damaged on its way.
        """
        content = source if isinstance(source, bytes) else Path(source)
        try:
            data = content if isinstance(content, bytes) else content.read_bytes()
        except OSError as error:
            raise HostError(f"cannot read {source!r}: {error.strerror or error}") from None
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._held:
            self.target.push(content, sha256)
            self._check(self._blob(sha256), sha256)
            self._held.add(sha256)
        return sha256

    def put_program(self, program: NativeProgram) -> str:
        """Carries a program and its weights to the device, by their hashes.

        Returns:
            SHA-256 of the executable, by which blocks name it.
        """
        if program.sha256 not in self._held:
            data = program.executable.read_bytes()
            path = self._carrier.install(data, f"lwprof-native-{program.sha256[:16]}")
            self._check(path, program.sha256)
            weights = None if program.weights is None else self._blob(self.put(program.weights))
            self._programs[program.sha256] = (program, path, weights)
            self._held.add(program.sha256)
        return program.sha256

    def prepare(
        self,
        model: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]] | None,
        deadline_s: float = _LOAD_S,
    ) -> Prepared:
        """Loads and runs a program once; see ``Agent.prepare``.

        Args:
            model: SHA-256 from ``put_program``.
        """
        with contextlib.closing(self.start(model)) as worker:
            reply = worker.ask(self.load_step(model, "prepare", options, inputs), deadline_s)
        outputs = tuple(reading.read(o, Output, self.target.name) for o in reply["outputs"])
        return Prepared(None, ("tvm",), dict(reply["node_providers"]), outputs)

    def infer(self, model: str, feeds: Mapping[str, Any], threads: int = 1) -> list[Any]:
        """Outputs of one inference, as numpy arrays.

        Args:
            model: SHA-256 from ``put_program``.
            feeds: an array for each input.
        """
        import numpy

        program = self._program(model)[0]
        name = f"outputs-{uuid.uuid4().hex}"
        step = self.load_step(model, "infer", {"threads": threads}, None)
        step["inputs"] = self._blob(self.put(_packed(program, feeds)))
        step["outputs_to"] = self._blob(name)
        with contextlib.closing(self.start(model)) as worker:
            worker.ask(step, _LOAD_S)
        size = sum(slot.nbytes for slot in program.outputs)
        try:
            data = self.target.pull(name, size)
        finally:
            self._carrier.run(["rm", "-f", self._blob(name)])
        return [
            numpy.frombuffer(data, slot.dtype, slot.nbytes // numpy.dtype(slot.dtype).itemsize,
                             slot.offset).reshape(slot.shape)
            for slot in program.outputs
        ]  # fmt: skip

    def run_block(
        self,
        script: Mapping[str, Any],
        deadline_s: float | None = None,
        then: Mapping[str, Any] | None = None,
    ) -> BlockRecord:
        """Executes one block; all of it or nothing. See ``Agent.run_block``.

        A native agent begins no block by itself: ``then`` is left to the next call.
        """
        if not self._is_open:
            raise DeviceTransient(f"{self.target.name}: the agent is not running")
        block = NativeBlock(self, script, deadline_s)
        try:
            reply = block.run()
        except DeviceTransient:
            self.close()
            raise
        finally:
            block.close()
        return reading.block_record(reply, script, self.target.name)

    def start(self, model: str) -> NativeWorker:
        """A fresh process of a program."""
        program, path, _ = self._program(model)
        return NativeWorker(self.target.name, self._carrier.start([path]), program.digest)

    def load_step(
        self,
        model: str,
        session: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]] | None,
    ) -> dict[str, Any]:
        """The step that loads a session, its data carried to the device."""
        program, _, weights = self._program(model)
        runtime = str(options.get("runtime", "tvm"))
        if runtime != "tvm":
            raise UsageError(f"{self.target.name}: the native agent runs tvm only, not {runtime}")
        data = None if inputs is None else self._inputs(program, inputs)
        chosen = {key: options[key] for key in ("threads", "profile", "kernel") if key in options}
        return {"do": "load", "session": session, "options": chosen, "weights": weights,
                "inputs": data}  # fmt: skip

    def _inputs(self, program: NativeProgram, specs: Sequence[Mapping[str, Any]]) -> str:
        from lwprof.agents.program import inputs

        # The same data as on any other device, made here: there is no numpy there.
        plain = json.loads(json.dumps(list(specs)))
        return self._blob(self.put(_packed(program, inputs.build(plain))))

    def _program(self, model: str) -> tuple[NativeProgram, str, str | None]:
        if model not in self._programs:
            raise UsageError(f"{self.target.name} holds no native program {model[:12]}")
        if model not in self._held:
            self.put_program(self._programs[model][0])  # after the link was lost
        return self._programs[model]

    def _blob(self, name: str) -> str:
        return f"{self._carrier.workdir}/blobs/{name}"

    def _check(self, path: str, sha256: str) -> None:
        """Damage on the way or on the device's disk is found before it is run."""
        done = self._carrier.run(["sha256sum", path], _HASH_S)
        if done.status == 0 and not done.stdout.decode("ascii", "replace").startswith(sha256):
            self._carrier.run(["rm", "-f", path])
            raise DeviceTransient(f"{self.target.name}: a file was damaged on its way")


def _packed(program: NativeProgram, feeds: Mapping[str, Any]) -> bytes:
    """All inputs in one piece, laid out as the program reads them.

    Raises:
        UsageError: data for an input is missing, or of another size.
    """
    import numpy

    data = bytearray(program.input_bytes)
    for slot in program.inputs:
        found = feeds.get(slot.name)
        array = None if found is None else numpy.ascontiguousarray(found)
        if array is None or not _fits(array, slot):
            raise UsageError(
                f"the input {slot.name} needs {slot.dtype} of shape {list(slot.shape)}"
            )
        data[slot.offset : slot.offset + slot.nbytes] = array.tobytes()
    return bytes(data)


def _fits(array: Any, slot: Slot) -> bool:
    return str(array.dtype) == slot.dtype and tuple(array.shape) == slot.shape
