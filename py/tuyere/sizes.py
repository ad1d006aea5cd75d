# SPDX-License-Identifier: Apache-2.0
"""Symbolic sizes inside FX graphs: hints for the tuner, and nodes that compute output sizes."""

import operator

import sympy
import torch

from .fake import spec_of

_FUNCTIONS = {
    "Add": operator.add,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "Max": torch.sym_max,
    "Min": torch.sym_min,
}


def hints_of(gm: torch.fx.GraphModule):
    """{symbol: (min, hint, max)} of the symbols that are a dimension of some input."""
    hints = {}
    for node in gm.graph.nodes:
        val = node.meta.get("val")
        if node.op != "placeholder" or not isinstance(val, torch.Tensor):
            continue
        for size in val.shape:
            if isinstance(size, torch.SymInt) and isinstance(size.node.expr, sympy.Symbol):
                hints[size.node.expr.name] = _range_of(size)
    return hints


def _range_of(size):
    """Any size may come at run time: PyTorch's guards are the front end's business. The hint is what to tune for."""
    return (0, int(size.node.hint) if size.node.hint is not None else 1, 2**62)


class SizeEmitter:
    """Emits `sizes` and `spec` of tuyere::execute (see fake.py) for a graph under construction."""

    def __init__(self, gm, graph, lookup):
        self.graph, self.lookup = graph, lookup
        self.sources = {}  # symbol -> old placeholder, or (old placeholder, dim)
        self.nodes = {}  # expression -> new node
        for node in gm.graph.nodes:
            if node.op == "placeholder":
                self._note(node)

    def _note(self, node):
        val = node.meta.get("val")
        if isinstance(val, torch.SymInt) and isinstance(val.node.expr, sympy.Symbol):
            self.sources[val.node.expr] = node
        if isinstance(val, torch.Tensor):
            for dim, size in enumerate(val.shape):
                if isinstance(size, torch.SymInt) and isinstance(size.node.expr, sympy.Symbol):
                    self.sources.setdefault(size.node.expr, (node, dim))

    def emit(self, metas):
        spec, sizes = spec_of(metas)
        return spec, [self._size(s) for s in sizes]

    def _size(self, size):
        if not isinstance(size, torch.SymInt):
            return int(size)
        node = self._expression(size.node.expr)
        if isinstance(node, torch.fx.Node) and "val" not in node.meta:
            node.meta["val"] = size
        return node

    def _expression(self, expr):
        if isinstance(expr, sympy.Integer):
            return int(expr)
        if expr not in self.nodes:
            self.nodes[expr] = self._make(expr)
        return self.nodes[expr]

    def _make(self, expr):
        if isinstance(expr, sympy.Symbol):
            if expr not in self.sources:
                raise RuntimeError(f"size {expr} is not a dimension of an input")
            source = self.sources[expr]
            if not isinstance(source, tuple):
                return self.lookup(source)
            return self.graph.call_function(torch.ops.aten.sym_size.int, (self.lookup(source[0]), source[1]))
        if isinstance(expr, sympy.Pow):
            args, function = [expr.base] * int(expr.exp), operator.mul
        else:
            args, function = expr.args, _FUNCTIONS[type(expr).__name__]
        node = self._expression(args[0])
        for arg in args[1:]:
            node = self.graph.call_function(function, (node, self._expression(arg)))
        return node
