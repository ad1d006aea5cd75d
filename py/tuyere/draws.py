# SPDX-License-Identifier: Apache-2.0
"""PyTorch fills memory with random numbers in the order of memory, and engines call its random ops on row-major tensors. For the numbers that eager would draw, such an op gets its
tensors with their dimensions in eager's order of memory, and its results are turned back: views, which cost nothing."""

import functools
import operator
from typing import List, Optional

import torch

from . import _tuyere
from ._compat import run_and_save_rng_state, statically_known_true

aten = torch.ops.aten

# Those that draw one number after the other. (Normal distributions fill row-major memory in another way than other memory: converters/hosted.cpp.)
_SERIAL = {
    aten.bernoulli.default,
    aten.native_dropout.default,
    aten.rand_like.default,
    aten.randint_like.default,
    aten.randint_like.low_dtype,
    aten.uniform.default,
}


# What attention and recurrent layers call the share of numbers that they drop.
_SHARES = ("dropout_p", "dropout")


def draws_random_numbers(node: torch.fx.Node) -> bool:
    """Whether a call takes numbers from PyTorch's generator, itself or in a body that it is handed (a branch, a loop)."""
    if node.op != "call_function":
        return False
    if isinstance(node.target, torch._ops.OpOverload):
        return torch.Tag.nondeterministic_seeded in node.target.tags and not _drops_nothing(node)
    if node.target is run_and_save_rng_state:
        return True
    bodies = (getattr(node.graph.owning_module, n.target, None) for n in node.all_input_nodes if n.op == "get_attr")
    return any(draws_random_numbers(inner) for body in bodies if isinstance(body, torch.fx.GraphModule) for inner in body.graph.nodes)


def _drops_nothing(node: torch.fx.Node) -> bool:
    for k, formal in enumerate(node.target._schema.arguments):
        if formal.name in _SHARES:
            return (node.args[k] if k < len(node.args) else node.kwargs.get(formal.name, formal.default_value)) == 0
    return False


def draw_in_memory_order(gm: torch.fx.GraphModule) -> None:
    """Changes the graph in place. It knows eager's order from the strides that its values were traced with."""
    changed = False
    for node in list(gm.graph.nodes):
        order = _foreign_order(node)
        if order is not None:
            _turn(gm.graph, node, order)
            changed = True
    if changed:
        gm.recompile()


def _foreign_order(node: torch.fx.Node) -> Optional[List[int]]:
    """The memory order of a random op's results, when that is not row-major."""
    if node.target not in _SERIAL:
        return None
    inputs = [n.meta.get("val") for n in node.all_input_nodes]
    results = node.meta.get("val")
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    values = inputs + results
    if not inputs or not all(isinstance(v, torch.Tensor) and v.layout == torch.strided and _same_sizes(v, values[0]) for v in values):
        return None
    order = memory_order(results[0])
    return None if order == list(range(len(order))) else order


def _same_sizes(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dim() == b.dim() and all(statically_known_true(m == n) for m, n in zip(a.shape, b.shape))


def memory_order(value: torch.Tensor) -> List[int]:
    """The dimensions of a dense tensor, the outermost first; those of size 1, and what nothing is known about, stay between their neighbours."""
    counted = [d for d in range(value.dim()) if not statically_known_true(value.shape[d] == 1)]
    strides = value.stride()

    def compare(a, b):
        return -1 if statically_known_true(strides[a] > strides[b]) else int(statically_known_true(strides[a] < strides[b]))

    ranked = iter(sorted(counted, key=functools.cmp_to_key(compare)))
    return [next(ranked) if d in counted else d for d in range(value.dim())]


def _turn(graph: torch.fx.Graph, node: torch.fx.Node, order: List[int]) -> None:
    back = sorted(range(len(order)), key=order.__getitem__)
    for source in node.all_input_nodes:
        with graph.inserting_before(node):
            node.replace_input_with(source, _permuted(graph, source, order))
    value = node.meta["val"]
    several = isinstance(value, (tuple, list))
    results = [user for user in node.users if user.target is operator.getitem] if several else [node]
    node.meta = {**node.meta, "val": type(value)(v.permute(order) for v in value) if several else value.permute(order)}
    for result in results:
        if several:
            result.meta = {**result.meta, "val": result.meta["val"].permute(order)}
        with graph.inserting_after(result):
            turned = _permuted(graph, result, back)
        result.replace_all_uses_with(turned, delete_user_cb=lambda user, turned=turned: user is not turned)


def _permuted(graph: torch.fx.Graph, node: torch.fx.Node, order: List[int]) -> torch.fx.Node:
    out = graph.call_function(aten.permute.default, (node, order))
    out.meta = {**node.meta, "val": node.meta["val"].permute(order)}
    return out


empty_words = functools.partial(torch.empty, dtype=torch.int64, device="cpu")


def draw_many_at_a_time() -> bool:
    """Lets engines draw Bernoulli numbers, of which dropout takes many, by the words that they are made of instead of by PyTorch's op: the same numbers, from the same generator. Not where this
    PyTorch makes them in another way."""
    generators, count, probability = [torch.Generator().manual_seed(1) for _ in range(2)], 1001, 0.3
    want = torch.empty(count, dtype=torch.bool, device="cpu").bernoulli_(probability, generator=generators[0])
    got = torch.zeros(count, dtype=torch.bool, device="cpu")
    _tuyere.draw_bernoulli(empty_words, generators[1], got.data_ptr(), count, probability)
    same = torch.equal(want, got) and torch.equal(*(g.get_state() for g in generators))
    if same:
        _tuyere.draw_from_default(empty_words, torch.default_generator)
    return same
