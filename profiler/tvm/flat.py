"""A compiled module's ``main`` as a flat list of kernel calls on planned memory.

TVM's virtual machine is left out: after lowering, ``main`` of a network without control
flow only allocates, calls kernels and looks at tensors in another shape, all of it known
beforehand. So a table is enough to run it, on a device that has neither Python nor TVM.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lwprof.errors import ModelError
from lwprof.profiler.tvm.build import kernel_of

STORAGE, CONSTANT, INPUT = "storage", "constant", "input"
#: Every buffer begins at a multiple of this many bytes: a cache line.
ALIGNMENT = 64
_SKIPPED = ("vm.builtin.check_", "vm.builtin.match_", "vm.builtin.null_value")
# A library routine that a compiled function hands its work to, in TVM's printed form.
_ROUTINE = re.compile(r'call_c?packed\w*\("([^"]*)"')
_VIEWS = ("vm.builtin.reshape", "vm.builtin.copy")


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies.

    Attributes:
        kind: ``storage``, ``constant`` or ``input``.
        storage: which storage; 0 for the others, which are one buffer each.
        offset: in bytes, from the buffer's begin.
    """

    kind: str
    storage: int
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * element_bytes(self.dtype)


@dataclass(frozen=True, slots=True)
class FlatCall:
    """One kernel call: its function and its arguments, places in ``Flat.tensors``."""

    function: str
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Flat:
    """A network as a table.

    Attributes:
        storages: bytes of each activation buffer; tensors share them over time.
        inputs: places in ``tensors`` in the order of ``main``'s parameters.
        constants: the weights, in one piece.
    """

    tensors: tuple[Tensor, ...]
    storages: tuple[int, ...]
    calls: tuple[FlatCall, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: bytes
    input_bytes: int


def element_bytes(dtype: str) -> int:
    """Bytes of one element, as kernels see it: a bool takes one."""
    if dtype == "bool":
        return 1
    bits = int("".join(c for c in dtype if c.isdigit()) or 0)
    if bits < 8 or bits % 8:
        raise ModelError(f"the native agent cannot hold tensors of type {dtype}")
    return bits // 8


def flatten(lowered: Any, name: str) -> Flat:
    """Reads ``main`` of a module that went through ``build.lower_calls``.

    Raises:
        ModelError: it branches, has shapes known at run time only, or calls routines of
            TVM's runtime, which the native agent does not carry.
    """
    reader = _Reader(lowered["main"], name)
    flat = reader.read()
    called = {call.function for call in flat.calls}
    for variable, function in lowered.functions_items():
        routine = None
        if variable.name_hint in called:
            routine = _ROUTINE.search(function.script())
        if routine is not None:
            raise reader.refused(f"calls {routine[1]} of TVM's runtime")
    return flat


class _Reader:
    def __init__(self, main: Any, name: str) -> None:
        self._main = main
        self._name = name
        self._tensors: list[Tensor] = []
        self._storages: list[int] = []
        self._constants = bytearray()
        self._shared: dict[tuple[int, str, tuple[int, ...]], int] = {}
        self._held: list[Any] = []
        self._calls: list[FlatCall] = []
        self._known: dict[Any, Any] = {}

    def read(self) -> Flat:
        from tvm import relax

        inputs, offset = [], 0
        for parameter in self._main.params:
            tensor = Tensor(INPUT, 0, offset, *self._type(parameter.ty))
            offset = _aligned(offset + tensor.nbytes)
            inputs.append(self._add(tensor))
            self._known[parameter] = inputs[-1]
        for block in self._main.body.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, relax.If):
                    raise self.refused("branches")
                self._known[binding.var] = self._value(binding.value, binding.var)
        results = self._known_of(self._main.body.body)
        outputs = tuple(results) if isinstance(results, tuple) else (results,)
        if not all(isinstance(place, int) for place in outputs):
            raise self.refused("returns something that is no tensor")
        return Flat(tuple(self._tensors), tuple(self._storages), tuple(self._calls), tuple(inputs),
                    outputs, bytes(self._constants), offset)  # fmt: skip

    def _value(self, value: Any, variable: Any) -> Any:
        from tvm import relax

        if not isinstance(value, relax.Call):
            return self._known_of(value)
        operator = str(getattr(value.op, "name", ""))
        if operator == "relax.vm.alloc_storage":
            self._storages.append(_aligned(_integer(value.args[0].values[0])))
            return ("storage", len(self._storages) - 1)
        if operator == "relax.vm.alloc_tensor":
            storage = self._known[value.args[0]][1]
            offset = _integer(value.args[1].value)
            return self._add(Tensor(STORAGE, storage, offset, *self._type(variable.ty)))
        if operator in ("relax.vm.kill_object", "relax.null_value"):
            return None
        return self._call(value, variable)

    def _call(self, value: Any, variable: Any) -> Any:
        from tvm import relax

        if isinstance(value.op, relax.ExternFunc):
            routine = str(value.op.global_symbol)
            if routine.startswith(_SKIPPED):
                return None
            if routine.startswith(_VIEWS):
                place = self._known_of(value.args[0])
                dtype, shape = self._type(variable.ty)
                return self._add(replace(self._tensors[place], dtype=dtype, shape=shape))
            raise self.refused(f"calls {routine} of TVM's runtime")
        function = kernel_of(value)
        if function is None or function.startswith("shape_func"):
            raise self.refused(f"needs {getattr(value.op, 'name', value.op)} at run time")
        places = [self._known_of(argument) for argument in value.args]
        if not all(isinstance(place, int) for place in places):
            raise self.refused(f"passes {function} something that is no tensor")
        self._calls.append(FlatCall(function, tuple(places)))
        return None

    def _known_of(self, value: Any) -> Any:
        from tvm import relax

        if isinstance(value, relax.Var):
            return self._known[value]
        if isinstance(value, relax.Tuple):
            return tuple(self._known_of(field) for field in value.fields)
        if isinstance(value, relax.TupleGetItem):
            return self._known_of(value.tuple_value)[value.index]
        # TVM has no public name for the class of its constants: they hold a tensor.
        held = getattr(value, "value", None)
        return self._constant(held) if hasattr(held, "numpy") else None

    def _constant(self, held: Any) -> int:
        import numpy

        array = numpy.ascontiguousarray(held.numpy())
        key = (array.ctypes.data, str(array.dtype), array.shape)
        if key not in self._shared:
            self._held.append(array)  # so that its address stays its own
            self._constants += bytes(_aligned(len(self._constants)) - len(self._constants))
            dtype, shape = str(held.dtype), tuple(int(e) for e in array.shape)
            tensor = Tensor(CONSTANT, 0, len(self._constants), dtype, shape)
            self._shared[key] = self._add(tensor)
            self._constants += array.tobytes()
        return self._shared[key]

    def _add(self, tensor: Tensor) -> int:
        element_bytes(tensor.dtype)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _type(self, kind: Any) -> tuple[str, tuple[int, ...]]:
        try:
            shape: Sequence[Any] = kind.shape
            return str(kind.dtype), tuple(_integer(extent) for extent in shape)
        except (AttributeError, TypeError, ValueError):
            raise self.refused("has shapes that are known at run time only") from None

    def refused(self, why: str) -> ModelError:
        """The error that says why the network cannot be a table."""
        return ModelError(
            f"{self._name} {why}, which the native agent cannot do: measure it on a device with "
            f"Python, by --runtime onnxruntime"
        )


def _integer(value: Any) -> int:
    return int(getattr(value, "value", value))


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
