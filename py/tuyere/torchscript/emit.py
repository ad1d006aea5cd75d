# SPDX-License-Identifier: Apache-2.0
"""A lowered FX graph -> TorchScript nodes in the place of its region."""

import operator
from typing import Any, Dict

import torch

from .. import _compat
from .regions import Leaf, Region
from .trace import Traced

_FUNCTIONS = {
    operator.add: "aten::add",
    operator.sub: "aten::sub",
    operator.mul: "aten::mul",
    operator.floordiv: "aten::floordiv",
    operator.mod: "aten::remainder",
    operator.neg: "aten::neg",
    torch.sym_max: "prim::max",
    torch.sym_min: "prim::min",
    torch.ops.aten.sym_size.int: "aten::size",
    torch.ops.aten.sym_numel.default: "aten::numel",
    torch.ops.aten.sym_stride.int: "aten::stride",
    torch.ops.aten.sym_storage_offset.default: "aten::storage_offset",
}


class Replacer:
    """Replaces the regions of one graph, one after the other. Results of one region are inputs of the next: now_of says what became of them."""

    def __init__(self, graph):
        self.graph = graph
        self.now_of: Dict[int, Any] = {}

    def replace(self, region: Region, traced: Traced, lowered: torch.fx.GraphModule):
        first = region.nodes[0]
        for node in region.floating:
            if not any(v.unique() in region.local | region.after for v in node.inputs()):
                node.moveBefore(first)
        with self.graph.insert_point_guard(first):
            results = iter(_Emitter(self.graph, region, traced, lowered, self.now_of).run())
            for value, count in traced.outputs:
                if count is None:
                    new = next(results)
                else:
                    new = _pack(self.graph, [next(results) for _ in range(count)], _compat.script_list("Tensor"))
                self.now_of[value.unique()] = new
                value.replaceAllUsesWith(new)
        _destroy(region)


def _destroy(region):
    """Removes the old nodes, last first, with the lists and numbers that only they used."""
    order = {node: k for k, node in enumerate(node for node in region.nodes[0].owningBlock().nodes())}
    for node in sorted([*region.nodes, *region.floating], key=order.__getitem__, reverse=True):
        if not node.hasUses():
            node.destroy()
        elif node in region.nodes:
            users = sorted({use.user.kind() for v in node.outputs() for use in v.uses()})
            raise RuntimeError(f"{node.kind()} is still used by {', '.join(users)} after its region was replaced")


def _pack(graph, values, kind):
    node = graph.create("prim::ListConstruct", values, 1)
    node.output().setType(kind)
    return graph.insertNode(node).output()


class _Emitter:
    def __init__(self, graph, region, traced, lowered, now_of):
        self.graph, self.region, self.traced, self.lowered, self.now_of = graph, region, traced, lowered, now_of
        self.new_of: Dict[Any, Any] = {}
        self.last = region.nodes[-1]

    def run(self):
        """The values of the FX graph's results."""
        leaves = iter(self.traced.inputs)
        for node in self.lowered.graph.nodes:
            if node.op == "placeholder":
                self.new_of[node] = self.leaf(next(leaves))
            elif node.op == "get_attr":
                self.new_of[node] = self.graph.insertConstant(operator.attrgetter(node.target)(self.lowered))
            elif node.op == "call_function":
                self.new_of[node] = self.call(node)
            elif node.op == "output":
                return [self.new_of[n] for n in node.args[0]]

    def leaf(self, leaf: Leaf):
        value = self.now_of.get(leaf.value) or self.region.values[leaf.value]
        if leaf.index < 0:
            return value
        kind = "prim::TupleIndex" if value.type().kind() == "TupleType" else "aten::__getitem__"
        return self.insert(kind, [value, self.graph.insertConstant(leaf.index)])

    def insert(self, kind, values):
        new = self.graph.insert(kind, values)
        new.node().copyMetadata(self.last)
        return new

    def call(self, node):
        if node.target is operator.getitem:
            items = self.new_of[node.args[0]]
            if isinstance(items, list):
                return items[node.args[1]]
            return self.insert("aten::__getitem__", [items, self.graph.insertConstant(node.args[1])])
        if node.target in _FUNCTIONS:
            return self.insert(_FUNCTIONS[node.target], [self.value(a, "int") for a in node.args])
        if not isinstance(node.target, torch._ops.OpOverload):
            raise NotImplementedError(f"TorchScript has no counterpart of {node.target}")
        return self.call_operator(node)

    def call_operator(self, node):
        op = node.target
        values = []
        for k, formal in enumerate(op._schema.arguments):
            given = node.args[k] if k < len(node.args) else node.kwargs.get(formal.name, formal.default_value if formal.has_default_value() else None)
            values.append(self.value(given, str(formal.real_type)))
        result = self.insert(op._schema.name, values)
        maker = result.node()
        if maker.kind() == "prim::TupleConstruct":  # several results
            return list(maker.inputs())
        if _compat.parse_schema(maker.schema()).overload_name != op._schema.overload_name:
            raise NotImplementedError(f"TorchScript takes {maker.schema()} for {op}")
        return result

    def value(self, given, kind: str):
        """A TorchScript value for an argument of the schema type `kind`."""
        if isinstance(given, torch.fx.Node):
            return self.new_of[given]
        if isinstance(given, (list, tuple)):
            element = kind.removeprefix("Optional[").rstrip("]").split("[")[-1]
            return _pack(self.graph, [self.value(g, element) for g in given], _compat.script_list(element))
        if isinstance(given, (bool, int)) and kind.endswith("float") or kind == "Optional[float]" and given is not None:
            given = float(given)
        return self.graph.insertConstant(_compat.to_script_number(given))
