# SPDX-License-Identifier: Apache-2.0
"""TorchScript's operators on numbers and lists as Python functions. The interpreter evaluates them."""

import operator

import torch

from .. import _compat


def _slice(items, start=None, end=None, step=1):
    return items[start:end:step]


def _to_bool(value):
    return value != 0 if isinstance(value, torch.SymInt) else bool(value)


def _to_int(value):
    return value if isinstance(value, torch.SymInt) else int(value)


FUNCTIONS = {
    "aten::add": operator.add,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::floordiv": operator.floordiv,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::neg": operator.neg,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::__getitem__": operator.getitem,
    "aten::slice": _slice,
    "aten::len": len,
    "aten::list": list,
    "aten::Int": _to_int,
    "aten::IntImplicit": _to_int,
    "aten::ScalarImplicit": _to_int,
    "aten::Bool": _to_bool,
    "prim::NumToTensor": _to_int,
    "prim::max": torch.sym_max,
    "prim::min": torch.sym_min,
    "prim::unchecked_cast": lambda value: value,
}


class Unknown:
    """A value that only running the module can tell."""

    def __init__(self, reason: str):
        self.reason = reason


class Number:
    """A zero-dimensional tensor whose value is known: traced modules compute sizes with tensors."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Number) and type(self.value) is type(other.value) and bool(_same(self.value, other.value))

    __hash__ = None  # type: ignore[assignment]


def _same(a, b):
    return known_truth(a == b) is True


def known_truth(value):
    """True or False when that holds for every size, else None. A SymBool is asked without adding a guard, and also at the sizes 0 and 1, for which
    PyTorch's symbols pretend not to exist."""
    if not isinstance(value, torch.SymBool):
        return bool(value)
    for wanted, condition in ((True, value), (False, torch.sym_not(value))):
        if _compat.statically_known_true(condition) and all(holds is not False for holds in _at_small_sizes(condition)):
            return wanted
    return None


def _at_small_sizes(condition):
    expression = condition.node.expr
    for symbol in expression.free_symbols:
        for size in (0, 1):
            holds = expression.subs(symbol, size)
            yield bool(holds) if holds.is_Boolean and not holds.free_symbols else None
