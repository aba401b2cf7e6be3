"""Lowering a Relax module to fused functions, with the way back to ONNX nodes.

Fusion renames values and shares equal functions, so labels do not survive it.
What does survive is the dataflow: each fused function's body calls the same
primitive functions on the same values as before, and by that the calls are
matched to the labelled bindings that they replace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from lwprof.profiler.tvm.frontend import position_of
from lwprof.profiler.tvm.layout import LAYOUT


@dataclass(frozen=True, slots=True)
class Lowered:
    """A module of fused, not yet scheduled functions.

    Attributes:
        module: the ``tvm.IRModule``; ``main`` calls one function per kernel.
        calls: for each kernel in call order: its function and the positions of
            the ONNX nodes (in the simplified graph) that it computes.
    """

    module: Any
    calls: tuple[tuple[str, tuple[int, ...]], ...]


def lower(module: Any) -> Lowered:
    """Legalise, fold constants, fuse.

    Args:
        module: a module from :func:`lwprof.profiler.tvm.frontend.import_model`,
            with or without blocked layouts.
    """
    import tvm
    from tvm import relax

    steps = [
        relax.transform.LegalizeOps(),
        relax.transform.FoldConstant(),
        relax.transform.DeadCodeElimination(),
        relax.transform.AnnotateTIROpPattern(),
    ]
    before = tvm.transform.Sequential(steps)(module)
    grouped = relax.transform.FuseOps()(before)
    positions = _trace(before, grouped)
    fused = relax.transform.FuseTIR()(grouped)
    names = [name for _, name in _kernel_calls(fused)]
    if len(names) != len(positions):
        # Calls that fusion dropped or added cannot be told apart: say nothing about any.
        positions = [()] * len(names)
    return _without_views(fused, positions)


def arguments_of(module: Any, name: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Element type and shape of each argument of a compiled function, the result last.

    Args:
        module: a lowered module.
        name: the function's name.

    Returns:
        () for library routines and for shapes that are known at run time only.
    """
    from tvm import tirx

    for variable in module.get_global_vars():
        function = module[variable]
        if variable.name_hint == name and isinstance(function, tirx.PrimFunc):
            try:
                return tuple(
                    (str(p.ty.dtype), tuple(int(e) for e in p.ty.shape)) for p in function.params
                )
            except (AttributeError, TypeError, ValueError):
                return ()
    return ()


def _without_views(fused: Any, positions: list[tuple[int, ...]]) -> Lowered:
    """Turn reshapes that move no data into views, which are no kernels."""
    from tvm import relax

    viewed = relax.transform.RewriteDataflowReshape()(fused)
    was = [isinstance(v, relax.Call) and _callee(v) is not None for _, v in _bindings(fused)]
    now = [_callee(v) if isinstance(v, relax.Call) else None for _, v in _bindings(viewed)]
    calls = []
    remaining = iter(positions)
    for kernel, name in zip(was, now, strict=True):
        if kernel:
            position = next(remaining)
            if name is not None:
                calls.append((name, position))
    return Lowered(viewed, tuple(calls))


def _bindings(module: Any) -> Iterator[tuple[Any, Any]]:
    """The (variable, value) bindings of ``main`` in order of execution."""
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            yield binding.var, binding.value


def _kernel_calls(module: Any) -> Iterator[tuple[Any, str]]:
    """The calls in ``main`` that run compiled code, with the function's name."""
    from tvm import relax

    for _, value in _bindings(module):
        if isinstance(value, relax.Call):
            name = _callee(value)
            if name is not None:
                yield value, name


def _callee(call: Any) -> str | None:
    """Name of the compiled function or library routine that a call runs, else None."""
    import tvm
    from tvm import relax

    if isinstance(call.op, relax.GlobalVar):
        return str(call.op.name_hint)
    name = getattr(call.op, "name", "")
    if name in ("relax.call_tir", "relax.call_tir_inplace", "relax.call_dps_packed"):
        first = call.args[0]
        if isinstance(first, relax.GlobalVar):
            return str(first.name_hint)
        return str(first.global_symbol)
    if isinstance(call.op, relax.ExternFunc):
        return str(call.op.global_symbol)
    if name.startswith("relax.call_pure_packed"):
        return str(call.args[0].global_symbol)
    del tvm
    return None


def _labels(module: Any) -> dict[Any, int]:
    """The ONNX node of each binding: its own label, or that of the next labelled one."""
    found: dict[Any, int] = {}
    waiting: list[Any] = []
    for variable, _ in _bindings(module):
        if not variable.name.startswith(LAYOUT):
            waiting.append(variable)
        position = position_of(variable.name)
        if position is not None:
            found.update((v, position) for v in waiting)
            waiting.clear()
    if found:
        last = max(found.values())
        found.update((v, last) for v in waiting)
    return found


def _trace(before: Any, grouped: Any) -> list[tuple[int, ...]]:
    """Node positions of each kernel call of ``grouped``, in order."""
    from tvm import relax

    labels = _labels(before)
    ledger = _Ledger(before)
    known: dict[Any, Any] = {p: p for p in before["main"].params}
    known.update(zip(grouped["main"].params, before["main"].params, strict=True))
    result: list[tuple[int, ...]] = []
    for variable, value in _bindings(grouped):
        if not isinstance(value, relax.Call) or _callee(value) is None:
            known[variable] = ledger.find(value, known)
            continue
        function = grouped[value.op] if isinstance(value.op, relax.GlobalVar) else None
        if isinstance(function, relax.Function):
            inner: dict[Any, Any] = {
                p: _resolve(a, known) for p, a in zip(function.params, value.args, strict=True)
            }
            members = []
            for block in function.body.blocks:
                for binding in block.bindings:
                    inner[binding.var] = ledger.find(binding.value, inner)
                    members.append(inner[binding.var])
            known[variable] = _resolve(function.body.body, inner)
        else:
            known[variable] = ledger.find(value, known)
            members = [known[variable]]
        result.append(tuple(sorted({labels[m] for m in members if m in labels})))
    return result


def _resolve(expression: Any, known: Mapping[Any, Any]) -> Any:
    """Replace a variable by the binding variable that it stands for before fusion."""
    from tvm import relax

    if isinstance(expression, relax.Var):
        return known.get(expression)
    if isinstance(expression, relax.Tuple):
        return tuple(_resolve(field, known) for field in expression.fields)
    return expression


class _Ledger:
    """Finds the binding, before fusion, that computed a given expression."""

    def __init__(self, before: Any) -> None:
        self._by_key: dict[Any, list[Any]] = defaultdict(list)
        same: dict[Any, Any] = {p: p for p in before["main"].params}
        for variable, value in _bindings(before):
            same[variable] = variable
            self._by_key[self._key(value, same)].append(variable)

    def find(self, value: Any, known: Mapping[Any, Any]) -> Any:
        """The variable bound to ``value``; None when there is none."""
        from tvm import relax

        if isinstance(value, relax.Var):
            return known.get(value)
        found = self._by_key.get(self._key(value, known), [])
        # Equal calls on equal values are interchangeable; each is handed out once.
        return found.pop(0) if len(found) > 1 else (found[0] if found else None)

    def _key(self, value: Any, known: Mapping[Any, Any]) -> Any:
        from tvm import relax

        if isinstance(value, relax.Call):
            inputs = tuple(self._part(a, known) for a in value.args)
            return ("call", str(getattr(value.op, "name", value.op)), inputs)
        if isinstance(value, relax.TupleGetItem):
            return ("item", self._part(value.tuple_value, known), value.index)
        return ("value", self._part(value, known))

    def _part(self, value: Any, known: Mapping[Any, Any]) -> Any:
        from tvm import relax

        if isinstance(value, relax.Var):
            # Parameters that stand for a constant resolve to that constant.
            found = known.get(value)
            return found if isinstance(found, relax.Var) else self._constant(found)
        if isinstance(value, relax.Tuple):
            return tuple(self._part(field, known) for field in value.fields)
        if isinstance(value, relax.GlobalVar):
            return str(value.name_hint)
        return self._constant(value)

    @staticmethod
    def _constant(value: Any) -> Any:
        """Constants differ by the memory that holds them; text would copy the weights."""
        held: Any = getattr(value, "value", None)
        if hasattr(held, "__dlpack__"):
            return ("constant", numpy.from_dlpack(held).ctypes.data, tuple(held.shape))
        if isinstance(value, tuple):
            return tuple(_Ledger._constant(item) for item in value)
        return str(value)
