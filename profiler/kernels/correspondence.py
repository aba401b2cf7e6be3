"""Which original tensor each tensor of an optimised graph stands for.

A runtime renames tensors whose layout it changes, and merges operators. Names that
survive are the fixed points. From them the knowledge runs backwards: what an optimised
convolution reads is what the original convolution read, what an inserted reorder reads
is what it gives. Output tensors are therefore known through their readers, and only
where no reader tells, by the names that the runtime derives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lwprof.profiler.kernels.optimised import NCHWC_DOMAIN, Node, Optimised
from lwprof.profiler.kernels.original import Original
from lwprof.profiler.kernels.values import join_type, split_type

# How far back from an output the operator that gave a fused kernel its type may lie.
_REACH = 24

_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv")

_UNIQUE = re.compile(r"_token_\d+$")
_CAST_PREFIX = "InsertedPrecisionFreeCast_"
_COPY_SUFFIX = "/duplicated"

# What a runtime may have removed between two operators.
_COPIES = frozenset({"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"})

# Original types that an optimised type may come from, where the names differ.
_ORIGINS = {
    "Gemm": ("Gemm", "MatMul"),
    "FusedGemm": ("Gemm", "MatMul"),
    "FusedConv": ("Conv",),
    "NhwcFusedConv": ("Conv",),
    "FusedMatMul": ("MatMul",),
    "TransposeMatMul": ("MatMul",),
    "QGemm": ("Gemm", "MatMul"),
    "QLinearMatMul": ("QLinearMatMul", "MatMul"),
    "QLinearConv": ("QLinearConv", "Conv"),
    "NhwcMaxPool": ("MaxPool",),
    "DynamicQuantizeMatMul": ("MatMulInteger", "MatMul"),
    "MatMulIntegerToFloat": ("MatMulInteger",),
    "MatMulNBits": ("MatMul",),
    "Upsample": ("Upsample", "Resize"),
}


class Correspondence:
    """The tensors and operators that survived, found once at construction.

    Attributes:
        tensor: optimised tensor → original tensor with the same content.
        loose: optimised tensors that hold the same elements in another order or shape.
        own: optimised node → the original operator (by place) that it simply is.
        inserted: optimised nodes that the runtime added to change layouts or types.
    """

    def __init__(self, original: Original, optimised: Optimised) -> None:
        self._original = original
        self._optimised = optimised
        self.tensor: dict[str, str] = {}
        self.loose: set[str] = set()
        self.own: dict[int, int] = {}
        self.inserted: set[int] = set()
        self._primary: dict[int, int | None] = {}
        self._taken: set[int] = set()
        self._match_names()
        self._match_backwards()

    def primary(self, node: Node) -> int | None:
        """The original operator that gave a kernel its type: the Conv of a fused Conv."""
        if node.place not in self._primary:
            self._primary[node.place] = self._find_primary(node)
        return self._primary[node.place]

    def _match_names(self) -> None:
        original = self._original
        for node in self._optimised.nodes:
            for name in node.outputs:
                if name in original.producer:
                    self.tensor[name] = name
                elif (base := _original_name(name)) and base in original.graph.tensors:
                    self.tensor[name] = base
            found = self._same_operator(node)
            if found is not None and found not in self._taken:
                self._taken.add(found)
                self.own[node.place] = found

    def _same_operator(self, node: Node) -> int | None:
        """The original operator of the node's type that makes its output or bears its name."""
        for name in node.outputs:
            place = self._original.producer.get(name)
            if place is not None and self._is(place, node):
                return place
        named = [p for p in self._named(node) if self._is(p, node)]
        return named[0] if len(named) == 1 else None

    def _named(self, node: Node) -> list[int]:
        if not node.name:
            return []
        by_name = self._original.by_name
        return by_name.get(node.name) or by_name.get(_UNIQUE.sub("", node.name), [])

    def _match_backwards(self) -> None:
        for node in reversed(self._optimised.nodes):
            self._name_outputs(node)
            if node.place not in self.own:
                self._adopt(node)
            if node.place not in self.own and node.insertable:
                self.inserted.add(node.place)
                self._hand_back(node)
                continue
            primary = self.primary(node)
            if primary is not None:
                self._hand_inputs(node, primary)

    def _name_outputs(self, node: Node) -> None:
        """Outputs that no reader could name: by the node's own operator, or derived names."""
        if any(name in self.tensor for name in node.outputs):
            return
        own = self.own.get(node.place)
        if own is not None:
            for name, source in zip(node.outputs, self._original.operators[own].outputs):  # noqa: B905
                if name and source:
                    self.tensor[name] = source
            return
        derived = _derived_name(node)
        if derived in self._original.producer:
            self.tensor[node.outputs[0]] = derived
        elif not node.insertable and (named := self._named(node)) and node.outputs:
            self.tensor[node.outputs[0]] = self._original.operators[named[0]].outputs[0]

    def _adopt(self, node: Node) -> None:
        """A nameless node is the operator of its type that makes what it gives."""
        for name in node.outputs:
            place = self._original.producer.get(self.tensor.get(name, ""))
            if place is not None and self._is(place, node):
                if place not in self._taken:
                    self._taken.add(place)
                    self.own[node.place] = place
                return

    def _hand_back(self, node: Node) -> None:
        known = next((self.tensor[name] for name in node.outputs if name in self.tensor), None)
        source = node.inputs[0] if node.inputs else ""
        if known is None or source not in self._optimised.producer or source in self.tensor:
            return
        self.tensor[source] = known
        if node.rearranges or self.loose.intersection(node.outputs):
            self.loose.add(source)

    def _hand_inputs(self, node: Node, primary: int) -> None:
        operator = self._original.operators[primary]
        quantised = node.plain_type.startswith(("QLinear", "QGemm"))
        for slot, name in enumerate(node.inputs):
            if name not in self._optimised.producer or name in self.tensor:
                continue
            if slot == 3 and node.plain_type in _CONVOLUTIONS:
                source = self._other_side(primary)
            else:
                place = _input_place(node, slot)
                source = operator.inputs[place] if 0 <= place < len(operator.inputs) else None
                if operator.type == "Mul" and node.plain_type == "Conv":
                    source = next((n for n in operator.inputs if not self._is_constant(n)), source)
            if source is not None and quantised:
                source = self._before_dequantising(source)
            if source:
                self.tensor[name] = source
                if self.loose.intersection(node.outputs):
                    self.loose.add(name)

    def _before_dequantising(self, name: str) -> str:
        place = self._original.producer.get(name)
        if place is not None and self._original.operators[place].type == "DequantizeLinear":
            return self._original.operators[place].inputs[0]
        return name

    def _other_side(self, primary: int) -> str | None:
        """What is added to the result of a convolution, behind its normalisation."""
        made = self._original.operators[primary].outputs[0]
        for _ in range(_REACH):
            readers = self._original.consumers.get(made, [])
            for place in readers:
                operator = self._original.operators[place]
                if operator.type in ("Add", "Sum"):
                    return next((name for name in operator.inputs if name != made), None)
            if len(readers) != 1:
                return None
            made = self._original.operators[readers[0]].outputs[0]
        return None

    def _find_primary(self, node: Node) -> int | None:
        if node.place in self.own:
            return self.own[node.place]
        wanted = _origins(node)
        for place in self._named(node):
            if self._original.operators[place].type in wanted:
                return place
        derived = _derived_name(node)
        starts = [self.tensor[name] for name in node.outputs if name in self.tensor]
        if derived in self._original.producer:
            starts = [derived]  # behind the sum, if there is one
        only = None if _is_fused(node) else _COPIES
        for place in self._backwards(starts, self._added(node), only):
            if self._original.operators[place].type in wanted:
                return place
        return None

    def _added(self, node: Node) -> str:
        """The original tensor that a convolution adds to its result; "" if none."""
        if node.plain_type not in _CONVOLUTIONS or len(node.inputs) < 4:
            return ""
        return self.tensor.get(node.inputs[3], node.inputs[3])

    def _backwards(
        self, names: list[str], beside: str, only: frozenset[str] | None
    ) -> Iterator[int]:
        """Operators behind ``names``, the nearest first, at most a kernel's worth of them.

        What makes the tensor ``beside`` is another kernel's, and so is what lies behind
        an operator that another node runs, or that is of none of the types ``only``.
        """
        waiting, seen = list(names), set[int]()
        while waiting and len(seen) < _REACH:
            name = waiting.pop(0)
            place = None if name == beside else self._original.producer.get(name)
            if place is None or place in seen or place in self._original.foldable:
                continue
            seen.add(place)
            yield place
            operator = self._original.operators[place]
            if place not in self._taken and (only is None or operator.type in only):
                waiting.extend(operator.inputs)

    def _is_constant(self, name: str) -> bool:
        tensor = self._original.graph.tensors.get(name)
        return tensor is not None and tensor.constant

    def _is(self, place: int, node: Node) -> bool:
        """True if the operator has the node's type; a reorder may take over a Transpose."""
        operator = self._original.operators[place]
        if node.reorders and operator.type == "Transpose":
            return node.channels_last
        return join_type(operator.domain, operator.type) == node.op


def _original_name(name: str) -> str:
    """The tensor that a converted or duplicated one comes from; "" for other names."""
    base = name.removesuffix(_COPY_SUFFIX)
    base = base.removeprefix(_CAST_PREFIX) if base.startswith(_CAST_PREFIX) else base
    return base if base != name else ""


def _derived_name(node: Node) -> str:
    """ONNX Runtime names blocked-layout nodes after an output that they once had; or ""."""
    if split_type(node.op)[0] != NCHWC_DOMAIN:
        return ""
    name = _UNIQUE.sub("", node.name)
    if not name.endswith("_nchwc"):
        return ""
    scaling = _scaling(node)
    suffix = f"_{scaling}" if scaling else ""
    return name.removesuffix("_nchwc").removesuffix(suffix).removeprefix(_CAST_PREFIX)


def _scaling(node: Node) -> str:
    """``bn`` or ``mul`` for a depthwise convolution made from one of these, else ""."""
    weight = node.inputs[1] if len(node.inputs) > 1 else ""
    return next((kind for kind in _SCALINGS if weight.startswith(f"{kind}_scale")), "")


_SCALINGS = {"bn": "BatchNormalization", "mul": "Mul"}


def _is_fused(node: Node) -> bool:
    """True for operators that may stand for several of the model's."""
    return bool(split_type(node.op)[0]) or node.plain_type in _ORIGINS


def _origins(node: Node) -> tuple[str, ...]:
    name = node.plain_type
    if name == "Conv" and (scaling := _scaling(node)):
        return (_SCALINGS[scaling],)
    if name in _ORIGINS:
        return _ORIGINS[name]
    return (name, name.removeprefix("QLinear")) if name.startswith("QLinear") else (name,)


def _input_place(node: Node, slot: int) -> int:
    """The original input that an input of a quantised operator is; -1 for scales."""
    name = node.plain_type
    if name in ("QLinearAdd", "QLinearMul", "QLinearMatMul"):
        return {0: 0, 3: 1}.get(slot, -1)
    if name == "QLinearConcat":
        return (slot - 2) // 3 if slot >= 2 and (slot - 2) % 3 == 0 else -1
    if name.startswith(("QLinear", "QGemm")):
        return 0 if slot == 0 else -1
    return slot
