# SPDX-License-Identifier: Apache-2.0
"""Symbolic sizes inside FX graphs: hints for the tuner, and nodes that compute output sizes."""

import operator
from typing import Any, Dict, List

import sympy
import torch

from .carriers import is_carrier
from .fake import spec_of
from .options import OptionError
from .symbols import symbol_of

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

# What SizeEmitter calls.
SIZE_FUNCTIONS = frozenset((torch.ops.aten.sym_size.int, *_FUNCTIONS.values()))


def profiles_of(gm: torch.fx.GraphModule, given, size_names) -> List[Dict[str, Any]]:
    """The user's profiles with symbols as keys, or one that only says what to tune for. A key of the user is a name of size_names, "<input>[<dim>]", or
    a symbol. Any size may come at run time where no profile says otherwise: PyTorch's guards are the front end's business."""
    hints, names = {}, {}
    for node in gm.graph.nodes:
        val = node.meta.get("val")
        if not isinstance(val, torch.Tensor) or not (node.op == "placeholder" or is_carrier(node)):
            continue
        for dim, size in enumerate(val.shape):
            symbol = symbol_of(size)
            if symbol:
                hints[symbol] = (0, int(size.node.hint) if size.node.hint is not None else 1, 2**62)
                names[f"{node.name}[{dim}]"] = names[symbol] = symbol
    for name, (node, dim) in size_names.items():
        symbol = symbol_of(node.meta["val"].shape[dim])
        if symbol:
            names[name] = symbol
    if not given or not hints:
        return [hints] if hints else []
    return [{**hints, **{_known(name, names): r for name, r in profile.items()}} for profile in given]


def _known(name: str, names: Dict[str, str]) -> str:
    if name not in names:
        raise OptionError(f"profiles: the graph has no size {name!r}; its sizes are {', '.join(names)}")
    return names[name]


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
        return spec, [self.size(s) for s in sizes]

    def size(self, size):
        """An int, or the new node that computes a symbolic size."""
        if not isinstance(size, torch.SymInt):
            return int(size)
        node = self._expression(size.node.expr)
        if isinstance(node, torch.fx.Node) and "val" not in node.meta:
            node.meta["val"] = size
        return node

    def follows(self, size) -> bool:
        """Whether a symbolic size can be computed from the inputs."""
        expr = size.node.expr
        known = all(isinstance(e, (sympy.Integer, sympy.Pow)) or type(e).__name__ in _FUNCTIONS for e in sympy.preorder_traversal(expr) if not e.is_Symbol)
        return known and expr.free_symbols <= self.sources.keys() and all(p.exp.is_Integer and p.exp > 0 for p in expr.atoms(sympy.Pow))

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
