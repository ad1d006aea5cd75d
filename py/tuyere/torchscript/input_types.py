# SPDX-License-Identifier: Apache-2.0
"""Example arguments -> fake tensors, and assertions at the head of the program that its arguments are like them."""

import dataclasses
from typing import Any, Dict, List, Optional, Tuple

import torch

from .. import _compat
from ..symbols import UnsupportedSize, expression_text
from .regions import Leaf
from .scalars import Unknown


@dataclasses.dataclass
class Formal:
    """A parameter of the program: name and type as TorchScript prints them."""

    name: str
    type: str


@dataclasses.dataclass
class _Dynamic:
    """A dimension that the user declared dynamic."""

    where: str
    size: Any  # SymInt
    low: int
    high: Optional[int]
    fixed: bool  # may become a constant


class InputTypes:
    """known: what is known about each argument. assertions(): TorchScript source, once everything is traced."""

    def __init__(self, formals: List[Formal], args, dynamic_shapes):
        self.mode = _compat.symbolic_fake_mode()
        self.formals = formals
        self.dynamic: List[_Dynamic] = []
        self.named: Dict[str, Any] = {}  # size of each Dim
        self.tensors: List[Tuple[str, torch.Tensor]] = []  # TorchScript text, fake
        self.conditions: List[Tuple[str, str]] = []  # TorchScript text, what it means
        self.places: List[str] = [f"a{k}" for k in range(len(formals))]
        specs = self._specs(dynamic_shapes)
        self.known = [self._known(place, arg, spec, formal.type) for place, arg, spec, formal in zip(self.places, args, specs, formals)]

    def _specs(self, dynamic_shapes):
        names = [f.name for f in self.formals]
        if dynamic_shapes is None:
            return [None] * len(names)
        if isinstance(dynamic_shapes, dict):
            unknown = sorted(set(dynamic_shapes) - set(names))
            if unknown:
                raise ValueError(f"dynamic_shapes names {', '.join(map(repr, unknown))}, but the module takes {', '.join(names)}")
            return [dynamic_shapes.get(n) for n in names]
        if len(dynamic_shapes) > len(names):
            raise ValueError(f"dynamic_shapes has {len(dynamic_shapes)} entries, but the module takes {len(names)} arguments: {', '.join(names)}")
        return [*dynamic_shapes, *[None] * (len(names) - len(dynamic_shapes))]

    def _known(self, place, arg, spec, kind):
        if isinstance(arg, torch.Tensor):
            if kind.startswith("Optional"):
                self.conditions.append((f"{place} is not None", "must be a tensor"))
            return self._tensor(place, arg, spec)
        if isinstance(arg, (list, tuple)):
            specs = spec if isinstance(spec, (list, tuple)) else [None] * len(arg)
            if isinstance(arg, list):
                self.conditions.append((f"len({place}) == {len(arg)}", f"must have {len(arg)} elements"))
            items = [self._known(f"{place}[{k}]", a, s, "") for k, (a, s) in enumerate(zip(arg, specs))]
            return items if isinstance(arg, list) else tuple(items)
        if isinstance(arg, dict):
            return {k: self._known(f"{place}[{k!r}]", a, (spec or {}).get(k), "") for k, a in arg.items()}
        if arg is None and kind.startswith("Optional"):
            self.conditions.append((f"{place} is None", "must be None"))
            return None
        return Unknown("it is an argument of the program")

    def _tensor(self, place, tensor, spec):
        dims = dict(enumerate(spec)) if isinstance(spec, (list, tuple)) else dict(spec or {})
        wanted = {d % max(tensor.dim(), 1): dim for d, dim in dims.items() if not _is_static(dim)}
        fake = _compat.fake_input(self.mode, tensor.detach(), set(wanted), place)
        for d, dim in wanted.items():
            self._declare(f"dimension {d} of argument {self._user_name(place)}", fake.shape[d], dim)
        self.tensors.append((place, fake))
        return fake

    def _declare(self, where, size, dim):
        if isinstance(dim, torch.export.Dim):
            if hasattr(dim, "root"):
                raise ValueError(f"{where}: a Dim computed from another one is not supported for TorchScript; declare a Dim of its own")
            first = self.named.setdefault(dim.__name__, size)
            if first is not size and not bool(first == size):
                raise ValueError(f"{where}: Dim {dim.__name__!r} stands for different sizes of the example inputs")
            self.dynamic.append(_Dynamic(where, size, dim.min, dim.max if isinstance(dim.max, int) else None, False))
        else:
            self.dynamic.append(_Dynamic(where, size, 0, None, dim == torch.export.Dim.AUTO))

    def carriers(self, values):
        """(leaf, TorchScript value) of the program's tensor arguments."""
        return [(Leaf(v.unique()), v) for v, known in zip(values, self.known) if isinstance(known, torch.Tensor)]

    # -- assertions
    def assertions(self) -> str:
        """Source of a function check(a0, a1, ...). Raises ValueError when a dynamic dimension turned out to be fixed by the module."""
        for d in self.dynamic:
            if not d.fixed and d.size.node.expr.is_number:
                raise ValueError(f"{d.where} was declared dynamic, but the module fixes it to {int(d.size)} (a traced module keeps the sizes of its trace)")
        lines = [f"    assert {text}, {self._message(text, means)}" for text, means in self.conditions]
        symbols: Dict[Any, str] = {}
        for place, fake in self.tensors:
            lines += self._tensor_lines(place, fake, symbols)
        lines += self._range_lines() + self._guard_lines(symbols)
        arguments = ", ".join(f"{place}: {f.type}" for place, f in zip(self.places, self.formals))
        return "\n".join([f"def check({arguments}) -> None:", *(lines or ["    pass"])]) + "\n"

    def _tensor_lines(self, place, fake, symbols):
        names = []
        for d, size in enumerate(fake.shape):
            expression = size.node.expr if isinstance(size, torch.SymInt) else None
            if expression is not None and expression.is_symbol and expression not in symbols:
                symbols[expression] = expression.name
                names.append(f"    {expression.name} = {place}.size({d})")
        shape = ", ".join(_text(s) for s in fake.shape)
        message = self._message(place, f"must be a {fake.dtype} tensor of shape ({shape}), as the example input")
        rank = [f"    assert {place}.dim() == {fake.dim()}, {message}"] if names else []
        sizes = f"{place}.size() == [{shape}]" if fake.dim() else f"{place}.dim() == 0"
        return [*rank, *names, f"    assert {sizes}, {message}", f"    assert {place}.dtype == {fake.dtype}, {message}"]

    def _range_lines(self):
        lines = []
        for d in self.dynamic:
            text = _text(d.size)
            if d.low > 0:
                lines.append(f"    assert {text} >= {d.low}, {f'tuyere: {d.where} must be at least {d.low}'!r}")
            if d.high is not None:
                lines.append(f"    assert {text} <= {d.high}, {f'tuyere: {d.where} must be at most {d.high}'!r}")
        return lines

    def _guard_lines(self, symbols):
        lines = []
        for guard in _compat.guards_of(self.mode):
            if not guard.free_symbols:
                continue
            try:
                left, right = (expression_text(side) for side in guard.args)
            except (UnsupportedSize, TypeError, ValueError) as error:
                raise ValueError(f"the module needs {guard} of the dynamic sizes, which cannot be checked at run time") from error
            if not guard.free_symbols <= set(symbols) or not hasattr(guard, "rel_op"):
                raise ValueError(f"the module needs {guard} of the dynamic sizes, which cannot be checked at run time")
            lines.append(f"    assert {left} {guard.rel_op} {right}, {f'tuyere: this program needs {guard} of its dynamic sizes'!r}")
        return lines

    def _user_name(self, place):
        """ "x[1]" of "a0[1]"."""
        head, bracket, rest = place.partition("[")
        return repr(self.formals[self.places.index(head)].name)[1:-1] + bracket + rest

    def _message(self, text, means):
        place = next(p for p in reversed(self.places) if text.removeprefix("len(").startswith(p))
        full = text if text.startswith(place) and " " not in text else place
        return repr(f"tuyere: argument {self._user_name(full)!r} {means}")


def _is_static(dim) -> bool:
    return dim is None or isinstance(dim, int) or dim == torch.export.Dim.STATIC


def _text(size) -> str:
    return expression_text(size.node.expr) if isinstance(size, torch.SymInt) else str(int(size))
