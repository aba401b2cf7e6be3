"""The tables of a flat network as C, for the native agent to be linked with.

See ``agents/native/source/plan.h`` for what they mean there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lwprof.profiler.tvm.flat import Flat, Tensor

_KINDS = {"storage": "LW_STORAGE", "constant": "LW_CONSTANT", "input": "LW_INPUT"}
# DLPack's numbers of element types.
_CODES = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "bool": 6}


def source(flat: Flat, output_names: Sequence[str], digest: str) -> str:
    """The C file that defines what ``plan.h`` declares.

    Args:
        flat: the network.
        output_names: names of the model's outputs.
        digest: what the program says of itself in its first frame.
    """
    functions = sorted({call.function for call in flat.calls})
    shapes: list[int] = []
    rows = [_tensor(tensor, shapes) for tensor in flat.tensors]
    arguments = [place for call in flat.calls for place in call.arguments]
    outputs = [
        f"{{{_quoted(name)}, {place}, {_quoted(flat.tensors[place].dtype)}}}"
        for name, place in zip(output_names, flat.outputs, strict=True)
    ]
    parts = [
        '#include "plan.h"\n',
        *(f"int __tvm_ffi_{name}(void *, const lw_any *, int32_t, lw_any *);"
          for name in functions),
        f"const char lw_digest[] = {_quoted(digest)};",
        _table("static const int64_t shapes", shapes),
        _table("const lw_tensor lw_tensors", rows),
        _table("const uint64_t lw_storages", flat.storages),
        _table("const int32_t lw_arguments", arguments),
        _table("const lw_call lw_calls", _calls(flat)),
        _table("const lw_output lw_outputs", outputs),
        *(f"const int32_t lw_{name}_count = {count};" for name, count in (
            ("storage", len(flat.storages)), ("tensor", len(flat.tensors)),
            ("argument", len(arguments)), ("call", len(flat.calls)), ("output", len(outputs)))),
        f"const uint64_t lw_constant_bytes = {len(flat.constants)}ull;",
        f"const uint64_t lw_input_bytes = {flat.input_bytes}ull;",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _calls(flat: Flat) -> Iterable[str]:
    first = 0
    for place, call in enumerate(flat.calls):
        name = _quoted(f"{place}:{call.function}")
        yield (
            f"{{{name}, {_quoted(call.function)}, (lw_function)__tvm_ffi_{call.function}, "
            f"{first}, {len(call.arguments)}}}"
        )
        first += len(call.arguments)


def _tensor(tensor: Tensor, shapes: list[int]) -> str:
    match = re.fullmatch(r"([a-z]+)(\d*)", tensor.dtype)
    assert match is not None
    code, bits = _CODES[match[1]], int(match[2] or 8)
    at = len(shapes)
    shapes += tensor.shape
    return (
        f"{{{_KINDS[tensor.kind]}, {tensor.storage}, {tensor.offset}u, {tensor.nbytes}u, "
        f"{{{code}, {bits}, 1}}, {len(tensor.shape)}, shapes + {at}}}"
    )


def _table(declaration: str, rows: Iterable[object]) -> str:
    # Never empty: C has no arrays of no elements.
    body = ",\n  ".join([*map(str, rows), "{0}" if "lw_" in declaration.split()[1] else "0"])
    return f"{declaration}[] = {{\n  {body}\n}};"


def _quoted(text: str) -> str:
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\?' else "".join(
            f"\\{byte:03o}" for byte in c.encode()
        )
        for c in text
    )  # fmt: skip
    return f'"{plain}"'
