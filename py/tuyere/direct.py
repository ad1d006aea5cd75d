# SPDX-License-Identifier: Apache-2.0
"""The short way into an engine: without FX, without the dispatcher, without pytrees where arguments and results are flat."""

import operator
from typing import Any, Dict, Optional, Sequence

import torch
from torch.utils import _pytree as pytree

from . import _compat, _tuyere
from .engine import AbsentEngine, Engine
from .output_views import is_view
from .sizes import SIZE_FUNCTIONS

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def direct_call(graph: torch.fx.GraphModule, engines: Dict[int, Engine]) -> Any:
    """A DirectCall of the bindings: a function of the list of flat arguments, when the graph is one engine and nothing else; else None. It returns None, having done nothing, when
    something wants to see the operators that are called (modes, the profiler, tracers). engines: by the id() of their carrier. Where results are views, a ViewedCall."""
    placeholders = [n for n in graph.graph.nodes if n.op == "placeholder"]
    calls = [n for n in graph.graph.nodes if n.target is torch.ops.tuyere.execute.default]
    results = next(n for n in graph.graph.nodes if n.op == "output").args[0]
    others = [n for n in graph.graph.nodes if n.op not in ("placeholder", "output")]
    if len(calls) != 1 or any(n.is_impure() for n in others) or not isinstance(results, (list, tuple)):
        return None
    inputs, carrier = calls[0].args[:2]
    if any(n not in placeholders for n in inputs):
        return None
    engine = engines.get(id(operator.attrgetter(carrier.target)(graph)))
    if engine is None or isinstance(engine, AbsentEngine):
        return None
    items = [n for n in others if _is_result(n, calls[0])]
    views = None
    if any(n is not None and n not in placeholders and n not in items for n in results):
        known = {carrier, calls[0], *items}
        if not all(n in known or _is_view_or_size(n) for n in others):
            return None
        views, results = _views_of(graph.graph, placeholders, items, known), items
    position = {n: k for k, n in enumerate(placeholders)}
    indices = [position[n] for n in inputs], [-1 - position[n] if n in position else n and n.args[1] for n in results]
    direct = _tuyere.DirectCall(engine.native, *indices, _compat.to_handles, _compat.from_handles, _compat.OBSERVERS)
    return ViewedCall(direct, views) if views else direct


def _is_result(node, call) -> bool:
    return isinstance(node, torch.fx.Node) and node.target is operator.getitem and node.args[0] is call


def _is_view_or_size(node) -> bool:
    return is_view(node) or node.target in SIZE_FUNCTIONS


def _views_of(graph, placeholders, items, known):
    """What the graph does with the arguments and the results of its engine: a function of both."""
    rest = torch.fx.Graph()
    new_of = {n: rest.placeholder(f"value_{k}") for k, n in enumerate((*placeholders, *items))}
    for node in graph.nodes:
        if node.op == "output":
            rest.output(torch.fx.map_arg(node.args[0], new_of.__getitem__))
        elif node not in new_of and node not in known:
            new_of[node] = rest.node_copy(node, new_of.__getitem__)
    return torch.fx.GraphModule({}, rest).forward


class ViewedCall:
    """A direct call, and a function of its arguments and results that takes views."""

    def __init__(self, call, views):
        self._call, self._views, self.watch = call, views, call.watch

    def __call__(self, args):
        results = self._call(args)
        return None if results is None else self._views(*args, *results)


class FlatCall:
    """A direct call with the arguments and results of a module whose arguments are tensors."""

    def __init__(self, call, count: int, names: Sequence[str], rebuild):
        self._call, self._count, self._names, self._rebuild = call, count, tuple(names), rebuild

    @staticmethod
    def of(call, in_spec, out_spec) -> Optional["FlatCall"]:
        """None when an argument is a list, a dictionary, or the like."""
        positional, named = in_spec.children()
        if any(not s.is_leaf() for s in (*positional.children(), *named.children())):
            return None
        names = named.context if named.num_children else ()
        return FlatCall(call, positional.num_children, names, _rebuild_of(out_spec))

    def flat(self, args, kwargs) -> Optional[Sequence[torch.Tensor]]:
        """The arguments of the call; None when these are not what it is for: another structure, tensors that something traces or differentiates."""
        if len(args) != self._count or (kwargs or self._names) and tuple(kwargs) != self._names:
            return None
        if kwargs:
            args = (*args, *kwargs.values())
        for t in args:
            if type(t) not in _PLAIN or t.layout is not torch.strided or not (t.is_cpu or t.is_cuda):
                return None
            if t.requires_grad and torch.is_grad_enabled():
                return None
        return args

    def __call__(self, flat):
        """None: the call must go through the dispatcher."""
        results = self._call(list(flat))
        return None if results is None else self._rebuild(results)


def _rebuild_of(out_spec):
    if out_spec.is_leaf():
        return operator.itemgetter(0)
    if out_spec.type in (tuple, list) and all(s.is_leaf() for s in out_spec.children()):
        return out_spec.type
    return lambda results: pytree.tree_unflatten(results, out_spec)
