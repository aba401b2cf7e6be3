"""A model of nothing but one kernel, from the kernel's description alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from lwprof.errors import ModelError, UsageError
from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.kernels import filling
from lwprof.profiler.kernels.embodying import decoded_attributes, stored, tensor, typed
from lwprof.profiler.kernels.emitting import Input, Site, parameters_of, written
from lwprof.profiler.kernels.schemas import (
    defaults_of,
    lowest_opset,
    schema_of,
)
from lwprof.profiler.kernels.values import REFERENCE_OPSET, product, split_type

_IR_VERSION = 8  # the newest that the runtimes of old boards read
_MAX_COPIES = 10_000
_MAX_BYTES = 2**31 - 2**20  # a protobuf message holds less than 2 GiB

# Layout changes are not ONNX's; the runtime has them in a domain of its own.
_LAYOUT_TYPES = ("ReorderInput", "ReorderOutput")
_LAYOUT_DOMAIN = "com.microsoft.nchwc"
_BLOCK = 16  # channels are padded to whole blocks, of 8 or 16

# From this opset on ONNX Runtime fuses the activation into a convolution.
_FUSED_FROM = {"HardSwish": 18}

_GATHERS = {"Gather": 1, "GatherElements": 1, "Scatter": 1, "ScatterElements": 1}


def cut_out(
    description: Mapping[str, Any], copies: int, seed: int, topology: str, sink: bool
) -> Any:
    """See :meth:`~lwprof.profiler.kernels.workload.Workload.to_model`.

    Raises:
        ModelError: the description lacks shapes, cannot be chained, or is too large.
        UsageError: a wrong number of copies, or an unknown topology.
    """
    if not 1 <= copies <= _MAX_COPIES:
        raise UsageError(f"{copies} copies are not possible: give 1 to {_MAX_COPIES}")
    if topology not in ("parallel", "chain"):
        raise UsageError(f"unknown topology {topology!r}: give 'parallel' or 'chain'")
    _check_cuttable(description, copies)
    if topology == "chain":
        _check_chain(description)
    writer = _Writer(description, seed, opset_of(description), topology == "chain", sink)
    for copy in range(copies):
        writer.add_copy(copy)
    return writer.model()


def opset_of(description: Mapping[str, Any]) -> int:
    """The lowest opset, from the reference on, that can express the kernel."""
    if description.get("opset"):
        return int(description["opset"])
    needed = [REFERENCE_OPSET]
    for i, op in enumerate(description["op_types"]):
        if split_type(op)[0] or op in _LAYOUT_TYPES:
            continue
        needed.append(_lowest(description, i))
        if i:
            needed.append(_FUSED_FROM.get(op, 0))
    return max(needed)


def _lowest(description: Mapping[str, Any], i: int) -> int:
    """The opset that operator ``i`` needs, as it will be written."""
    op = description["op_types"][i]
    # Parameters that are attributes in a description become inputs.
    spelled = frozenset(description["attributes"][i]) - {"captured"} - parameters_of(op)
    inputs = tuple(_dtype_of(description, edge) for edge in description["edges"][i])
    made = dict(zip(description["results"], description["outputs"], strict=True))
    outputs = tuple(
        spec["dtype"] if (spec := made.get(f"{i}.{j}")) and spec.get("kind") is None else None
        for j in range(len(made))
    )
    return lowest_opset(op, inputs, outputs, spelled)


def _dtype_of(description: Mapping[str, Any], reference: str) -> str | None:
    if reference.startswith("i"):
        spec = description["inputs"][int(reference[1:])]
        return spec["dtype"] if spec.get("kind", "tensor") == "tensor" else None
    return description["dtype"] if reference else None


def _check_cuttable(description: Mapping[str, Any], copies: int) -> None:
    idle = all(spec["constant"] for spec in description["inputs"])
    if description["op_types"] in (["Shape"], ["Size"]) or idle and not _is_random(description):
        raise ModelError(
            f"the kernel {'+'.join(description['op_types'])} reads nothing that changes: alone, "
            "a runtime would compute it once, when it loads the model"
        )
    total = 0
    for spec in description["outputs"]:
        if spec["shape"] is None or spec["dtype"] is None:
            raise _unknown(description, "outputs")
    for spec in description["inputs"]:
        shape = spec["shape"]
        if shape is None or None in shape or spec["dtype"] is None:
            raise _unknown(description, "inputs")
        if spec["constant"]:
            total += nbytes(spec["dtype"], product(shape)) or 0
        elif (nbytes(spec["dtype"], product(shape)) or 0) > _MAX_BYTES:
            raise ModelError(f"an input of shape {shape} is too large to be measured")
    if total * copies > _MAX_BYTES:
        raise ModelError(
            f"{copies} copies of this kernel have {total * copies / 2**30:.1f} GiB of weights, "
            "more than an ONNX file holds: ask for fewer copies"
        )


def _unknown(description: Mapping[str, Any], what: str) -> ModelError:
    return ModelError(
        f"the kernel {'+'.join(description['op_types'])} has {what} of unknown shape: "
        "it cannot be cut out of its model"
    )


def _is_random(description: Mapping[str, Any]) -> bool:
    return any(op in ("RandomNormal", "RandomUniform") for op in description["op_types"])


def _check_chain(description: Mapping[str, Any]) -> None:
    first = _chained_input(description)
    outputs = description["outputs"]
    fits = (
        first is not None
        and outputs
        and outputs[0]["shape"] == description["inputs"][first]["shape"]
        and outputs[0]["dtype"] == description["inputs"][first]["dtype"]
    )
    if not fits:
        raise ModelError(
            f"the kernel {'+'.join(description['op_types'])} cannot be chained: its output does "
            "not have its input's shape and type; use topology 'parallel'"
        )


def can_chain(description: Mapping[str, Any]) -> bool:
    """True if the kernel's output can be its own input."""
    try:
        _check_chain(description)
    except ModelError:
        return False
    return True


def _chained_input(description: Mapping[str, Any]) -> int | None:
    return next((i for i, spec in enumerate(description["inputs"]) if not spec["constant"]), None)


class _Writer:
    """Collects nodes, initialisers and inputs, copy after copy."""

    def __init__(
        self, description: Mapping[str, Any], seed: int, opset: int, chained: bool, sink: bool
    ) -> None:
        self.description, self.seed, self.opset = description, seed, opset
        self.chained, self.sink = chained, sink
        inputs = description["inputs"]
        self._weighted = any(s["constant"] and product(s["shape"]) > 1 for s in inputs)
        self._blocked = _added_to_convolution(description)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._helpers: set[str] = set()
        self._previous = ""

    def add_copy(self, copy: int) -> None:
        """Writes one more copy of the kernel, with its own weights."""
        values: dict[str, str] = {"": ""}
        description = self.description
        for place, spec in enumerate(description["inputs"]):
            if not spec["constant"]:
                values[f"i{place}"] = self._data(copy, place, spec)
        for i, op in enumerate(description["op_types"]):
            self._write(copy, i, op, values)
        results = [values[reference] for reference in description["results"]]
        if self.chained:
            self._previous = results[0]
            self._outputs.clear()
        for name, spec in zip(results, description["outputs"], strict=True):
            self._give(name, spec)

    def _data(self, copy: int, place: int, spec: Mapping[str, Any]) -> str:
        """Name of what a copy reads as its input: given, shared, or the copy before's result."""
        if self.chained and copy and place == _chained_input(self.description):
            return self._previous
        # A runtime would merge copies without weights if they read the same.
        own = not self.chained and not self._weighted
        name = f"x{copy}_{place}" if own else f"x{place}"
        if name not in self._inputs:
            self._inputs[name] = typed(name, self._stored_spec(spec))
        if place not in self._blocked:
            return name
        # ONNX Runtime adds to a blocked convolution only what another blocked node made.
        helper = f"{name}_blocked"
        if helper not in self._helpers:
            self._helpers.add(helper)
            self._nodes.append(
                onnx.helper.make_node(
                    "MaxPool", [name], [helper], name=f"helper_{helper}", kernel_shape=[1, 1]
                )
            )
        return helper

    def _stored_spec(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.description["op_types"] != ["ReorderOutput"]:
            return spec
        shape = list(spec["shape"])
        shape[1] = -(-shape[1] // _BLOCK) * _BLOCK
        return {**spec, "shape": shape}

    def _write(self, copy: int, i: int, op: str, values: dict[str, str]) -> None:
        edge = self.description["edges"][i]
        attributes = dict(self.description["attributes"][i])
        captured = int(attributes.pop("captured", 0))
        rng = np.random.default_rng([self.seed, copy, i])
        names = self._names_of(copy, i, op, edge, values)
        outer = names[len(names) - captured :] if captured else []
        own = names[: len(names) - captured] if captured else names
        specs = [self._spec(reference) for reference in edge][: len(own)]
        count = self._outputs_of(i)
        site = Site(
            op,
            attributes,
            list(own),
            specs,
            [self._output_spec(i, j) for j in range(count)],
            self.opset,
            lambda slot, dtype, shape: filling.constant(op, slot, dtype, shape, rng),
        )
        attributes, inputs = written(site)
        attributes = decoded_attributes(attributes, outer, f"k{copy}_{i}", rng)
        self._add_required(op, attributes)
        results = []
        for j in range(count):
            used = self._is_used(i, j)
            values[f"{i}.{j}"] = f"y{copy}_{i}_{j}" if used else ""
            results.append(values[f"{i}.{j}"])
        domain, kind = split_type(op)
        if op in _LAYOUT_TYPES:
            domain = _LAYOUT_DOMAIN
            if op == "ReorderOutput":
                attributes["channels"] = specs[0]["shape"][1] if specs[0] is not None else 0
        self._nodes.append(
            onnx.helper.make_node(
                kind,
                [self._as_name(entry, f"k{copy}_{i}_p{n}") for n, entry in enumerate(inputs)],
                results,
                name=f"k{copy}_{i}",
                domain=domain,
                **attributes,
            )
        )

    def _names_of(
        self, copy: int, i: int, op: str, edge: list[str], values: dict[str, str]
    ) -> list[str]:
        names = []
        for slot, reference in enumerate(edge):
            if reference not in values:
                place = int(reference[1:])
                name = f"w{copy}_{place}"
                rng = np.random.default_rng([self.seed, copy, i, slot])
                if not (op == "Pow" and "exponent" in self.description["attributes"][i]):
                    self._constants.append(self._constant(op, i, slot, place, name, rng))
                values[reference] = name
            names.append(values[reference])
        return names

    def _constant(
        self, op: str, i: int, slot: int, place: int, name: str, rng: np.random.Generator
    ) -> Any:
        spec = self.description["inputs"][place]
        dtype, shape = spec["dtype"], tuple(spec["shape"])
        if spec.get("values") is not None:
            return stored(spec, name, rng)
        if _GATHERS.get(op) == slot and dtype in ("int32", "int64"):
            data = self._spec(self.description["edges"][i][0])
            axis = self.description["attributes"][i].get("axis", 0)
            if data is not None and data["shape"]:
                array = filling.indices(data["shape"][axis], dtype, shape, rng)
                return tensor(array, name, dtype)
        return tensor(filling.constant(op, slot, dtype, shape, rng), name, dtype)

    def _as_name(self, entry: Input, name: str) -> str:
        if isinstance(entry, str):
            return entry
        self._constants.append(tensor(entry, name))
        return name

    def _spec(self, reference: str) -> Mapping[str, Any] | None:
        if reference.startswith("i"):
            spec: Mapping[str, Any] = self.description["inputs"][int(reference[1:])]
            return spec
        if not reference:
            return None
        i, j = reference.split(".")
        return self._output_spec(int(i), int(j))

    def _output_spec(self, i: int, j: int) -> Mapping[str, Any] | None:
        """An output's type and shape; inner values of a fused kernel have its result's."""
        reference = f"{i}.{j}"
        for result, spec in zip(
            self.description["results"], self.description["outputs"], strict=True
        ):
            if result == reference:
                found: Mapping[str, Any] = spec
                return found
        inner: Mapping[str, Any] | None = next(iter(self.description["outputs"]), None)
        return inner if self._is_used(i, j) else None

    def _is_used(self, i: int, j: int) -> bool:
        reference = f"{i}.{j}"
        return reference in self.description["results"] or any(
            reference in edge for edge in self.description["edges"]
        )

    def _outputs_of(self, i: int) -> int:
        for value in self.description["attributes"][i].values():
            if isinstance(value, Mapping) and "body" in value:
                carried = 1 if self.description["op_types"][i] == "Loop" else 0
                return len(value["body"]["outputs"]) - carried
        references = [*self.description["results"]]
        for edge in self.description["edges"]:
            references += edge
        mine = [r for r in references if r.startswith(f"{i}.")]
        return max((int(r.split(".")[1]) + 1 for r in mine), default=1)

    def _add_required(self, op: str, attributes: dict[str, Any]) -> None:
        """Numbers that an operator demands and that do not count."""
        schema = schema_of(op, self.opset)
        if schema is None:
            return
        for name, attribute in schema.attributes.items():
            if name not in attributes and attribute.required and name not in defaults_of(op, 17):
                kind = str(attribute.type).rpartition(".")[2]
                if kind in ("FLOAT", "AttrType.FLOAT"):
                    attributes[name] = 0.5

    def _give(self, name: str, spec: Mapping[str, Any]) -> None:
        if not self.sink or self.chained:
            self._outputs[name] = typed(name, spec)
            return
        shape, end = spec["shape"], f"{name}_end"
        if shape and len(shape) == 4 and spec["dtype"] == "float32" and None not in shape:
            node = onnx.helper.make_node(
                "MaxPool", [name], [end], name=f"helper_{end}", kernel_shape=[1, 1],
                strides=[max(extent, 1) for extent in shape[2:]],
            )  # fmt: skip
            self._outputs[end] = typed(end, {**spec, "shape": [*shape[:2], 1, 1]})
        elif shape and None not in shape and all(shape):
            bounds = [tensor(np.zeros(len(shape), np.int64), f"{end}_from"),
                      tensor(np.ones(len(shape), np.int64), f"{end}_to")]  # fmt: skip
            self._constants += bounds
            node = onnx.helper.make_node(
                "Slice", [name, f"{end}_from", f"{end}_to"], [end], name=f"helper_{end}"
            )
            self._outputs[end] = typed(end, {**spec, "shape": [1] * len(shape)})
        else:
            self._outputs[name] = typed(name, spec)
            return
        self._nodes.append(node)

    def _version_of(self, domain: str) -> int:
        """Of a domain that is not ONNX's main one."""
        types = self.description["op_types"]
        places = [i for i, op in enumerate(types) if split_type(op)[0] == domain == "ai.onnx.ml"]
        return max((_lowest(self.description, i) for i in places), default=1)

    def model(self) -> Any:
        """The model with all copies that were added."""
        graph = onnx.helper.make_graph(
            self._nodes,
            "kernel",
            list(self._inputs.values()),
            list(self._outputs.values()),
            self._constants,
        )
        domains = dict.fromkeys(node.domain for node in self._nodes)
        imports = [onnx.helper.make_opsetid("", self.opset)]
        imports += [
            onnx.helper.make_opsetid(domain, self._version_of(domain))
            for domain in domains
            if domain
        ]
        return onnx.helper.make_model(
            graph, opset_imports=imports, ir_version=_IR_VERSION, producer_name="lwprof"
        )


def _added_to_convolution(description: Mapping[str, Any]) -> frozenset[int]:
    """Inputs that are added to the result of a float convolution inside the kernel."""
    found = set()
    for i, op in enumerate(description["op_types"]):
        edge = description["edges"][i]
        behind = [r for r in edge if r.endswith(".0") and not r.startswith("i")]
        if op != "Add" or not any(_is_convolution(description, r) for r in behind):
            continue
        for reference in edge:
            if reference.startswith("i"):
                spec = description["inputs"][int(reference[1:])]
                shape = spec["shape"]
                if not spec["constant"] and len(shape) == 4 and spec["dtype"] == "float32":
                    found.add(int(reference[1:]))
    return frozenset(found)


def _is_convolution(description: Mapping[str, Any], reference: str) -> bool:
    return bool(description["op_types"][int(reference.split(".")[0])] == "Conv")
