"""A model of nothing but one kernel, from the kernel's description alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from lwprof.errors import ModelError, UsageError
from lwprof.profiler.kernels import filling
from lwprof.profiler.kernels.embodying import decoded_attributes, stored, tensor, typed
from lwprof.profiler.kernels.emitting import Input, Site, written
from lwprof.profiler.kernels.schemas import defaults_of, schema_of
from lwprof.profiler.kernels.suitability import (
    LAYOUT_TYPES,
    added_to_convolution,
    chained_input,
    check_chain,
    check_cuttable,
    lowest,
    opset_of,
)
from lwprof.profiler.kernels.values import product, split_type

_IR_VERSION = 8  # the newest that the runtimes of old boards read
_MAX_COPIES = 10_000

# Layout changes are not ONNX's; the runtime has them in a domain of its own.
_LAYOUT_DOMAIN = "com.microsoft.nchwc"
_BLOCK = 16  # channels are padded to whole blocks, of 8 or 16

# Fused into a convolution only where the result does not leave the graph.
_FUSED_INSIDE = ("HardSwish",)

# Where these have indices, which must lie inside the first input.
_GATHERS = {"Gather": 1, "GatherElements": 1, "ScatterElements": 1}


def cut_out(
    description: Mapping[str, Any], copies: int, seed: int, topology: str, sink: bool
) -> Any:
    """See :meth:`~lwprof.profiler.kernels.workload.Workload.to_model`.

    Raises:
        ModelError: the description lacks shapes, contradicts itself, cannot be chained,
            or is too large.
        UsageError: a wrong number of copies, or an unknown topology.
    """
    if not 1 <= copies <= _MAX_COPIES:
        raise UsageError(f"{copies} copies are not possible: give 1 to {_MAX_COPIES}")
    if topology not in ("parallel", "chain"):
        raise UsageError(f"unknown topology {topology!r}: give 'parallel' or 'chain'")
    check_cuttable(description, copies)
    if topology == "chain":
        check_chain(description)
    try:
        writer = _Writer(description, seed, opset_of(description), topology == "chain", sink)
        for copy in range(copies):
            writer.add_copy(copy)
        return writer.model()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        # Well-formed and yet nonsense: an axis beyond the rank, text where a number belongs.
        raise ModelError(
            f"the kernel {'+'.join(description['op_types'])} cannot be written as a model: "
            f"{type(error).__name__}: {error}"
        ) from error


class _Writer:
    """Collects nodes, initialisers and inputs, copy after copy."""

    def __init__(
        self, description: Mapping[str, Any], seed: int, opset: int, chained: bool, sink: bool
    ) -> None:
        self.description, self.seed, self.opset = description, seed, opset
        self.chained, self.sink = chained, sink
        inputs = description["inputs"]
        self._weighted = any(s["constant"] and product(s["shape"]) > 1 for s in inputs)
        self._blocked = added_to_convolution(description)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._results: list[tuple[str, Mapping[str, Any]]] = []
        self._outputs: list[Any] = []
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
            self._results.clear()
        self._results += zip(results, description["outputs"], strict=True)

    def _data(self, copy: int, place: int, spec: Mapping[str, Any]) -> str:
        """Name of what a copy reads as its input: given, shared, or the copy before's result."""
        if self.chained and copy and place == chained_input(self.description):
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
        if op in LAYOUT_TYPES:
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
        """Makes a result an output of the graph, or one element per channel of it."""
        types, shape = self.description["op_types"], spec["shape"]
        inside = len(types) > 1 and types[-1] in _FUSED_INSIDE
        ends = inside or (self.sink and not self.chained)
        if not ends or not shape or None in shape or 0 in shape or "kind" in spec:
            self._outputs.append(typed(name, spec))
            return
        end = f"{name}_end"
        if len(shape) == 4 and spec["dtype"] == "float32":
            pool = {"kernel_shape": [1, 1], "strides": shape[2:]}
            node = onnx.helper.make_node("MaxPool", [name], [end], name=f"helper_{end}", **pool)
            shape = [*shape[:2], 1, 1]
        else:
            bounds = {"from": np.zeros(len(shape), np.int64), "to": np.ones(len(shape), np.int64)}
            self._constants += [tensor(values, f"{end}_{k}") for k, values in bounds.items()]
            inputs = [name, *(f"{end}_{k}" for k in bounds)]
            node = onnx.helper.make_node("Slice", inputs, [end], name=f"helper_{end}")
            shape = [1] * len(shape)
        self._nodes.append(node)
        self._outputs.append(typed(end, {**spec, "shape": shape}))

    def _version_of(self, domain: str) -> int:
        """Of a domain that is not ONNX's main one."""
        types = self.description["op_types"]
        places = [i for i, op in enumerate(types) if split_type(op)[0] == domain == "ai.onnx.ml"]
        return max((lowest(self.description, i) for i in places), default=1)

    def model(self) -> Any:
        """The model with all copies that were added."""
        for name, spec in self._results:
            self._give(name, spec)
        graph = onnx.helper.make_graph(
            self._nodes,
            "kernel",
            list(self._inputs.values()),
            self._outputs,
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
