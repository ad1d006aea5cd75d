# SPDX-License-Identifier: Apache-2.0
"""Sizes of PyTorch (ints, SymInts) as the expressions of common/dim.h."""

from typing import Optional

import sympy
import torch

from ._compat import Max


class UnsupportedSize(Exception):
    """A size that the engine has no expression for; the text says which."""


_FUNCTIONS = {
    "FloorDiv": lambda a, b: f"({a})//({b})",
    "CleanDiv": lambda a, b: f"({a})//({b})",
    "Mod": lambda a, b: f"({a})%({b})",
    "PythonMod": lambda a, b: f"({a})%({b})",
    "Max": lambda *a: _fold("max", a),
    "Min": lambda *a: _fold("min", a),
}


def _fold(name, args):
    text = args[0]
    for arg in args[1:]:
        text = f"{name}({text},{arg})"
    return text


def expression_text(expr) -> str:
    """Dim text of a sympy expression. Raises UnsupportedSize."""
    if isinstance(expr, (int, sympy.Integer)):
        return str(int(expr))
    if isinstance(expr, sympy.Symbol):
        if expr.name.startswith(("u", "zuf", "zf")):
            raise UnsupportedSize(f"size {expr.name} depends on data")
        return expr.name
    if isinstance(expr, sympy.Add):
        return "(" + "+".join(expression_text(a) for a in expr.args) + ")"
    if isinstance(expr, sympy.Mul):
        return "*".join(f"({expression_text(a)})" for a in expr.args)
    if isinstance(expr, (sympy.Pow,)) and isinstance(expr.exp, sympy.Integer) and expr.exp > 0:
        return "*".join([f"({expression_text(expr.base)})"] * int(expr.exp))
    name = type(expr).__name__
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*(expression_text(a) for a in expr.args))
    raise UnsupportedSize(f"size expression {expr} has no counterpart")


def size_text(size):
    """int for a plain size, text for a symbolic one."""
    if isinstance(size, torch.SymInt):
        expr = size.node.expr
        if isinstance(expr, sympy.Integer):
            return int(expr)
        return expression_text(expr)
    return int(size)


def stride_texts(tensor):
    """Its strides as size_text. PyTorch steps over a size that may be 0 by max(1, size): by the size itself here, as strides of empty tensors say nothing."""
    sizes = [n.node.expr for n in tensor.shape if isinstance(n, torch.SymInt)]
    steps = {Max(1, size): size for size in sizes}
    steps = {step: size for step, size in steps.items() if step != size and step not in sizes}
    return [expression_text(s.node.expr.xreplace(steps)) if isinstance(s, torch.SymInt) else int(s) for s in tensor.stride()]


def symbols_of(size):
    """Names of the free symbols of a size."""
    return {s.name for s in size.node.expr.free_symbols} if isinstance(size, torch.SymInt) else set()


def symbol_of(size) -> Optional[str]:
    """The name of a size that is a symbol by itself. Not that of a nested tensor's rows, whose lengths are no number."""
    if not isinstance(size, torch.SymInt) or not isinstance(size.node.expr, sympy.Symbol):
        return None
    return None if isinstance(size.node.hint, torch.SymInt) else size.node.expr.name


__all__ = ["UnsupportedSize", "expression_text", "size_text", "stride_texts", "symbol_of", "symbols_of"]
