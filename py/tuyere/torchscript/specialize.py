# SPDX-License-Identifier: Apache-2.0
"""Numbers that the input types decide become constants, so that TorchScript's own passes remove branches and loops that depend on them."""

from .. import _compat
from .interpret import Interpreter
from .scalars import Number

_ROUNDS = 8  # a loop that is unrolled shows new numbers; programs need two or three rounds


def specialize(graph, interpret) -> Interpreter:
    """interpret(graph) -> Interpreter. Changes the graph until nothing more is known, and returns what is."""
    _tidy(graph)
    for _ in range(_ROUNDS):
        known = interpret(graph)
        if not _fold(graph, graph, known):
            return known
        _tidy(graph)
    return interpret(graph)


def _tidy(graph):
    for run in _compat.SCRIPT_CLEANUP:
        run(graph)


def _fold(graph, block, known) -> bool:
    changed = False
    for node in block.nodes():
        if node.kind() == "prim::Constant":
            continue
        for value in node.outputs():
            constant = _constant(known.of(value))
            if constant is not None and value.uses() and not _written(node):
                with graph.insert_point_guard(node):
                    value.replaceAllUsesWith(graph.insertConstant(constant))
                changed = True
        for inner in node.blocks():
            changed |= _fold(graph, inner, known)
    return changed


def _written(node) -> bool:
    return node.kind() in ("prim::TupleConstruct", "prim::ListConstruct")


def _constant(known):
    """A plain number, truth or list of ints; None when it is none of them."""
    if isinstance(known, Number):
        return None
    if isinstance(known, (bool, int, float)):
        return known
    if isinstance(known, list) and known and all(type(k) is int for k in known):
        return known
    return None
