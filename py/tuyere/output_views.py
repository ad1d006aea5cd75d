# SPDX-License-Identifier: Apache-2.0
"""Outputs that are views in eager, as x[:, ::2] or x.mT: an engine returns what they are views of, and PyTorch takes the views. They have eager's strides then, gaps and overlaps too, and a base: Dynamo guards on both."""

import operator
from typing import Any, Dict, Optional

import torch

from . import _compat
from .fake import covers_memory


def take_views(gm: torch.fx.GraphModule, count: Optional[int] = None) -> Dict[int, torch.fx.Node]:
    """Puts what is computed in the place of outputs that are views of it. Returns the views by position. count: of a training graph's results, where bases do not matter: those with gaps among the first, and
    those that do not begin where their memory does."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    results, views = list(output.args[0]), {}
    for position, node in enumerate(results[:count]):
        if count is not None and _is_dense(node) and not _is_further_on(node):
            continue
        root = _root(node) if isinstance(node, torch.fx.Node) else None
        if root is not None and root is not node:
            views[position], results[position] = node, root
    output.args = (tuple(results), *output.args[1:])
    return views


def is_view(node: torch.fx.Node) -> bool:
    """Of its first argument. Items of several views count as views of these."""
    return node.op == "call_function" and (node.target is operator.getitem or getattr(node.target, "is_view", False))


def view_in(graph: torch.fx.Graph, node: torch.fx.Node, root: torch.fx.Node, lookup: Any) -> torch.fx.Node:
    """`node`, a view of `root` in another graph, in this one, where lookup() finds nodes of the other."""
    if node is root:
        return lookup(root)
    return graph.node_copy(node, lambda n: view_in(graph, n, root, lookup) if n is node.args[0] else lookup(n))


def _is_dense(node) -> bool:
    value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and covers_memory(value)


def _is_further_on(node) -> bool:
    return not _compat.statically_known_true(node.meta["val"].storage_offset() == 0)


def _root(node) -> Optional[torch.fx.Node]:
    """The first tensor without gaps that leads to the node by views; None when there is none. AOTAutograd takes views of inputs itself, unless it needs sizes for it that are known at run
    time: it reads these, the strides and the offset from what the graph returns."""
    root, symbolic = None, False
    while node.op == "call_function":
        symbolic = symbolic or _has_symbols(node.meta.get("val"))
        if _is_dense(node):
            root = node
        if not is_view(node):
            return root
        node = node.args[0]
    return node if symbolic and node.op == "placeholder" else None


def _has_symbols(value) -> bool:
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return False
    return any(isinstance(n, torch.SymInt) for n in (*value.shape, *value.stride(), value.storage_offset()))
