# SPDX-License-Identifier: Apache-2.0
"""Numbers that are computed of sizes, such as the n / (n - 1) of a running variance. Engines compute with tensors: such a number becomes one of no dimensions, in f64, which has no say in the
promotion of types."""

import operator
from typing import Any, Dict

import torch

from ._compat import FakeTensor

aten = torch.ops.aten

_FUNCTIONS = {operator.add: aten.add.Tensor, operator.sub: aten.sub.Tensor, operator.mul: aten.mul.Tensor, operator.truediv: aten.div.Tensor}
# Readers whose second argument may be a tensor, and what they are then.
_READERS = {getattr(getattr(aten, op), kind): getattr(aten, op).Tensor for op in ("add", "sub", "mul", "div") for kind in ("Tensor", "Scalar")}


def make_ratios_tensors(gm: torch.fx.GraphModule, device: torch.device) -> None:
    """Changes the graph in place. Numbers that something else reads, or that are computed in another way, stay."""
    numbers = [n for n in gm.graph.nodes if n.op == "call_function" and isinstance(n.meta.get("val"), torch.SymFloat)]
    mode = next((n.meta["val"].fake_mode for n in gm.graph.nodes if isinstance(n.meta.get("val"), FakeTensor)), None)
    if not numbers or mode is None:
        return
    with mode:
        maker = _Maker(gm.graph, torch.empty((), dtype=torch.float64, device=device))
    for node in numbers:
        for reader in list(node.users):
            if reader.target in _READERS and reader.args[1] is node and reader.args[0] is not node:
                tensor = maker.tensor(node)
                if tensor is not None:
                    reader.target, reader.args = _READERS[reader.target], (reader.args[0], tensor, *reader.args[2:])
    for node in reversed(numbers):
        if not node.users:
            gm.graph.erase_node(node)
    gm.recompile()


class _Maker:
    """Makes tensors of numbers, each where the number is computed. scalar: a fake tensor that is like all of them."""

    def __init__(self, graph: torch.fx.Graph, scalar: torch.Tensor):
        self.graph, self.scalar = graph, scalar
        self.made: Dict[torch.fx.Node, Any] = {}

    def tensor(self, node: torch.fx.Node):
        """None where the number is not a formula of sizes and plain numbers."""
        if node not in self.made:
            self.made[node] = self._make(node)
        return self.made[node]

    def _make(self, node):
        val = node.meta.get("val")
        if isinstance(val, torch.SymInt):
            following = node.next
            while following.op == "placeholder":
                following = following.next
            return self._call(following, aten.scalar_tensor.default, node)
        if node.target is torch.sym_float:
            return self.tensor(node.args[0])
        if not isinstance(val, torch.SymFloat) or node.target not in _FUNCTIONS:
            return None
        first, second = (self.tensor(a) if isinstance(a, torch.fx.Node) else a for a in node.args)
        if first is None or second is None:
            return None
        if not isinstance(first, torch.fx.Node):
            first = self._call(node, aten.scalar_tensor.default, first)
        return self._call(node, _FUNCTIONS[node.target], first, second)

    def _call(self, before, target, *args):
        kind = {"dtype": self.scalar.dtype, "device": self.scalar.device} if target is aten.scalar_tensor.default else {}
        with self.graph.inserting_before(before):
            new = self.graph.call_function(target, args, kind)
        new.meta = {**{k: v for k, v in before.meta.items() if k in ("stack_trace", "nn_module_stack")}, "val": self.scalar}
        return new
