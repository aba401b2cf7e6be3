"""Rewriting a Relax module so that activations stay blocked by channels.

Each convolution with constant weights becomes a call of our own tensor
expression on packed weights; operators between convolutions run on the blocked
tensors; conversions are put only where a blocked and a plain tensor meet. This is
what ONNX Runtime does with its NCHWc kernels, and what TVM 0.27 no longer does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lwprof.profiler.tvm import blocking, computes, folding
from lwprof.profiler.tvm.toolchain import VectorUnit

#: Name of the bindings that convert a layout; they belong to no ONNX node.
LAYOUT = "layout"


def block_layouts(module: Any, unit: VectorUnit) -> Any:
    """Rewrite ``main`` of an imported module.

    Args:
        module: from :func:`lwprof.profiler.tvm.frontend.import_model`.
        unit: its lanes are the channels of a block.

    Returns:
        A module that computes the same; without blocked layouts when it branches.
    """
    from tvm import relax

    regions = module["main"].body.blocks
    if len(regions) != 1 or not isinstance(regions[0], relax.DataflowBlock):
        return module
    return Rewriter(module, unit.lanes).run()


class Rewriter:
    """One pass over the bindings of ``main``, in order.

    Attributes:
        bb: the builder of the new module.
        block: channels in a block.
    """

    def __init__(self, module: Any, block: int) -> None:
        import tvm
        from tvm import relax

        self.block = block
        self._main = module["main"]
        others = {g: f for g, f in module.functions_items() if g.name_hint != "main"}
        self.bb = relax.BlockBuilder(tvm.IRModule(others))
        self._same: dict[Any, Any] = {}
        self._folded: dict[Any, Any] = {}
        self._plain: dict[Any, Any] = {p: p for p in self._main.params}
        # By value, then by groups: blocks are filled group by group.
        self._blocked: dict[Any, dict[int, Any]] = {}

    def run(self) -> Any:
        """Build the new module."""
        attributes = dict(self._main.attrs.items()) if self._main.attrs else {}
        with self.bb.function("main", list(self._main.params), attrs=attributes):
            with self.bb.dataflow():
                for binding in self._main.body.blocks[0].bindings:
                    self._visit(binding.var, binding.value)
                output = self.bb.emit_output(self.replaced(self._main.body.body))
            self.bb.emit_func_output(output)
        return self.bb.get()

    def _visit(self, variable: Any, value: Any) -> None:
        from tvm import relax

        if isinstance(value, relax.Var):
            self._same[variable] = self._root(value)
            return
        made = None
        if isinstance(value, relax.Call):
            # TVM's own constant folding compiles a function for each constant.
            value = self._with_constants(value)
            folded = folding.fold(value)
            if folded is not None:
                self._folded[variable] = folded
                return
            made = blocking.rewrite(self, value)
        if made is None:
            self._plain[variable] = self.bb.emit(self.replaced(value), variable.name)
        elif made.groups:
            self._blocked[variable] = {made.groups: self.bb.emit(made.value, variable.name)}
        else:
            self._plain[variable] = self.bb.emit(made.value, variable.name)

    def _with_constants(self, call: Any) -> Any:
        """A call with the values that were folded in place of their variables."""
        from tvm import relax

        if not any(self._root(a) in self._folded for a in call.args if isinstance(a, relax.Var)):
            return call
        arguments = [
            self._folded.get(self._root(a), a) if isinstance(a, relax.Var) else a for a in call.args
        ]
        made = relax.Call(call.op, arguments, call.attrs, call.ty_args)
        return self.bb.normalize(made)

    def groups(self, value: Any) -> tuple[int, ...]:
        """The blocked forms that a value of the old module exists in: () for none."""
        from tvm import relax

        if not isinstance(value, relax.Var):
            return ()
        return tuple(sorted(self._blocked.get(self._root(value), ())))

    def blocked(self, variable: Any, groups: int = 1) -> Any:
        """The blocked form of a value of the old module, converted where needed."""
        root = self._root(variable)
        forms = self._blocked.setdefault(root, {})
        if groups not in forms:
            forms[groups] = self.convert(
                lambda data: computes.to_blocked(data, self.block, groups), self.plain(root)
            )
        return forms[groups]

    def plain(self, variable: Any) -> Any:
        """The plain form of a value of the old module, converted where needed."""
        root = self._root(variable)
        if root not in self._plain:
            channels = int(root.ty.shape[1])
            groups, form = next(iter(self._blocked[root].items()))
            self._plain[root] = self.convert(
                lambda data: computes.to_plain(data, channels, groups), form
            )
        return self._plain[root]

    def convert(self, function: Callable[[Any], Any], data: Any) -> Any:
        """Emit a conversion between layouts."""
        call = self.bb.call_te(function, data, primfunc_name_hint=LAYOUT)
        return self.bb.emit(call, LAYOUT)

    def replaced(self, value: Any) -> Any:
        """An expression of the old module with plain values of the new one."""
        from tvm import relax

        if isinstance(value, relax.Var):
            return self._folded.get(self._root(value)) or self.plain(value)
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self.replaced(field) for field in value.fields])
        if isinstance(value, relax.TupleGetItem):
            return relax.TupleGetItem(self.replaced(value.tuple_value), value.index)
        if isinstance(value, relax.Call):
            arguments = [self.replaced(argument) for argument in value.args]
            return relax.Call(self._callee(value.op), arguments, value.attrs, value.ty_args)
        if isinstance(value, relax.GlobalVar):
            return self._callee(value)
        return value

    def _callee(self, op: Any) -> Any:
        from tvm import relax

        return self.bb.get().get_global_var(op.name_hint) if isinstance(op, relax.GlobalVar) else op

    def _root(self, variable: Any) -> Any:
        return self._same.get(variable, variable)
