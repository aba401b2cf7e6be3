"""From a scheduled module to a shared library.

The library holds the model three times, sharing its kernels:

``main``
    the model as it is run and timed;
``lwprof_stamped``
    the same with a clock reading before and after each kernel, for the times of
    kernels in context. TVM 0.27 has no per-operator profiler, and an instrument
    in Python costs several microseconds a call; a compiled ``clock_gettime``
    costs a tenth of one;
``lwprof_empty``
    the same without the kernels: allocation, views and the virtual machine's own
    work, which is the gap between kernels, measured by itself.

``lwprof_describe`` returns, as JSON text, what the device needs to know of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lwprof.errors import HostError
from lwprof.profiler.tvm.toolchain import quietly, require_linker

STAMPED = "lwprof_stamped"
EMPTY = "lwprof_empty"
STAMP = "lwprof_stamp"
DESCRIBE = "lwprof_describe"
#: 1 is CLOCK_MONOTONIC, the clock that Python's perf_counter reads too.
_STAMP_SOURCE = """
@T.prim_func(s_tir=True)
def stamp(stamps: T.Buffer((PLACES, 2), "int64"), i: T.int64):
    T.func_attr({"tirx.noalias": True})
    T.evaluate(T.call_extern("int32", "clock_gettime", 1, T.address_of(stamps[i, 0])))
"""


def build(module: Any, target: Any, describe: Callable[[tuple[str, ...]], dict[str, Any]]) -> Any:
    """Compile a module of fused functions.

    Args:
        module: an ``IRModule``; ``main`` calls scheduled functions.
        target: a ``tvm.target.Target``.
        describe: given the names of the kernels in the order in which
            ``lwprof_stamped`` stamps them, returns the library's description.
            Control flow leaves that order open: then the names are empty and the
            library holds ``main`` only.

    Returns:
        The executable.
    """
    import tvm
    from tvm import relax

    with quietly(), target, tvm.transform.PassContext(opt_level=3):
        lowered = tvm.transform.Sequential(_passes(relax))(module)
        names = kernel_names(lowered)
        if names:
            lowered = _with_variants(lowered)
        lowered[DESCRIBE] = _text_function(json.dumps(describe(names)))
        lowered = relax.transform.AttachGlobalSymbol()(lowered)
        return relax.build(lowered, target, relax_pipeline=None)


def lower_calls(module: Any, target: Any) -> Any:
    """A module whose ``main`` allocates memory and calls compiled functions, nothing else.

    Args:
        module: an ``IRModule``; ``main`` calls scheduled functions.
        target: a ``tvm.target.Target``.
    """
    import tvm
    from tvm import relax

    with quietly(), target, tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(_passes(relax))(module)


def object_code(module: Any, target: Any, path: Path) -> None:
    """Compiles the functions of a lowered module to a relocatable object.

    Args:
        module: from :func:`lower_calls`.
        target: may be another machine than this one.
        path: the file to write; its name ends in ``.o``.
    """
    import tvm
    from tvm import tirx

    functions = {
        variable.name_hint: function.with_attr("global_symbol", variable.name_hint)
        for variable, function in module.functions_items()
        if isinstance(function, tirx.PrimFunc)
    }
    with quietly(), target, tvm.transform.PassContext(opt_level=3):
        # Only ``mod`` may be touched: anything else would be loaded into this process.
        tvm.compile(tvm.IRModule(functions), target).mod.write_to_file(str(path))


def export(executable: Any, path: Path) -> None:
    """Link an executable into a shared library.

    Args:
        executable: what :func:`build` returned.
        path: the file to write.

    Raises:
        HostError: there is no linker, or it failed.
    """
    require_linker()
    partial = path.with_suffix(".partial.so")
    try:
        with quietly():
            executable.export_library(str(partial))
    except RuntimeError as error:
        raise HostError(
            f"linking the model compiled by TVM failed: {str(error).strip().splitlines()[-1]}; "
            "check the C compiler"
        ) from error
    partial.replace(path)


def _passes(relax: Any) -> list[Any]:
    """TVM's default pipeline for processors, short of naming the functions."""
    from tvm.relax import backend

    transform = relax.transform
    return [
        backend.DispatchSampling(),
        backend.DispatchSortScan(),
        transform.LegalizeOps(),
        transform.RewriteDataflowReshape(),
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.StaticPlanBlockMemory(),
        transform.LowerAllocTensor(),
        transform.KillAfterLastUse(),
        transform.LowerRuntimeBuiltin(),
        transform.ComputePrimValue(),
        transform.VMShapeLower(),
    ]


def kernel_of(value: Any) -> str | None:
    """Name of the compiled function or library routine that a lowered call runs."""
    from tvm import relax

    if not isinstance(value, relax.Call):
        return None
    if isinstance(value.op, relax.GlobalVar):
        return str(value.op.name_hint)
    if isinstance(value.op, relax.ExternFunc):
        name = str(value.op.global_symbol)
        return None if name.startswith("vm.builtin.") else name
    return None


def kernel_names(module: Any) -> tuple[str, ...]:
    """Kernels of ``main`` in order; empty when it branches."""
    from tvm import relax

    names = []
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.If):
                return ()
            name = kernel_of(binding.value)
            if name is not None and not name.startswith("shape_func"):
                names.append(name)
    return tuple(names)


def _with_variants(module: Any) -> Any:
    """Add the stamped and the empty copy of ``main``, and the stamping function."""
    import tvm
    from tvm import relax

    main = module["main"]
    kernels = len(kernel_names(module))
    stamps = relax.Var("lwprof_stamps", relax.TensorType((2 * kernels + 2, 2), "int64"))
    copy = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs)
    copy[STAMP] = _stamp_function(2 * kernels + 2)
    stamped = relax.utils.copy_with_new_vars(main)
    empty = relax.utils.copy_with_new_vars(main)
    copy[STAMPED] = _stamped(stamped, stamps, copy.get_global_var(STAMP))
    copy[EMPTY] = _rebuilt(
        empty, list(empty.params), lambda binding: [] if _is_kernel(binding.value) else [binding]
    )
    return copy


def _is_kernel(value: Any) -> bool:
    name = kernel_of(value)
    return name is not None and not name.startswith("shape_func")


def _stamped(function: Any, stamps: Any, stamp: Any) -> Any:
    """Wrap each kernel of a function in two stamps, after two that follow each other."""
    from tvm import relax

    place = iter(range(2**30))

    def take() -> Any:
        index = relax.prim_value(next(place))
        call = relax.Call(stamp, [stamps, index], ty_args=[relax.TupleType([])])
        return relax.VarBinding(relax.Var("_", relax.TupleType([])), call)

    started = False

    def around(binding: Any) -> list[Any]:
        nonlocal started
        if not _is_kernel(binding.value):
            return [binding]
        first = [] if started else [take(), take()]
        started = True
        return [*first, take(), binding, take()]

    return _rebuilt(function, [*function.params, stamps], around)


def _rebuilt(function: Any, params: list[Any], change: Any) -> Any:
    """Copy a function with each binding replaced by what ``change`` makes of it."""
    from tvm import relax

    blocks = []
    for block in function.body.blocks:
        bindings = [new for binding in block.bindings for new in change(binding)]
        blocks.append(relax.BindingBlock(bindings))
    body = relax.SeqExpr(blocks, function.body.body)
    attributes = dict(function.attrs) if function.attrs else {}
    attributes.pop("global_symbol", None)
    made = relax.Function(params, body, function.ret_ty, is_pure=False)
    return made.with_attrs({**attributes, "relax.force_pure": True})


def _text_function(text: str) -> Any:
    """A function without parameters that returns a text as a tensor of bytes."""
    import numpy
    from tvm import relax

    constant = relax.const(numpy.frombuffer(text.encode(), dtype="uint8").copy())
    body = relax.SeqExpr([], constant)
    made = relax.Function([], body, constant.ty, is_pure=False)
    return made.with_attr("relax.force_pure", True)


def _stamp_function(places: int) -> Any:
    """A compiled ``clock_gettime`` into row ``i`` of an int64 tensor of (s, ns)."""
    from tvm.script import from_source
    from tvm.script import tirx as T

    return from_source(_STAMP_SOURCE.replace("PLACES", str(places)), {"T": T})
