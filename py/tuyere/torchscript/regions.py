# SPDX-License-Identifier: Apache-2.0
"""Regions: runs of nodes of one block that may become one graph.

A node is in a region, a barrier, or floating: pure, so that it may move before or after a region. Values that something writes to are what makes this hard.
A region is functionalized on its own and copies results into the inputs that it writes, and its results share no memory. That is right when
  - no two inputs of the region share memory that it writes, and
  - nothing outside writes to a result that should share memory with an input or with another result.
Nodes for which this fails become barriers, until it holds everywhere.
"""

import dataclasses
from typing import Any, Dict, List, Set, Tuple

import torch

from .interpret import QUERIES, Interpreter, makes_tensors, overload, writes
from .scalars import FUNCTIONS, Number, Unknown

STRUCTURE = {
    "prim::Constant",
    "prim::ListConstruct",
    "prim::TupleConstruct",
    "prim::DictConstruct",
    "prim::ListUnpack",
    "prim::TupleUnpack",
    "prim::TupleIndex",
}
UNPACK = {"prim::ListUnpack", "prim::TupleUnpack"}
INDEX = {"prim::TupleIndex", "aten::__getitem__"}
READS = {"aten::Int", "aten::Float", "aten::Bool", "aten::item", "aten::IntImplicit", "aten::FloatImplicit", "aten::ScalarImplicit"}


@dataclasses.dataclass(frozen=True)
class Local:
    """A result of a node of the region: value, or its element when that is a list."""

    value: int
    index: int = -1


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A tensor from outside: value, or its element when that is a list or tuple."""

    value: int
    index: int = -1


@dataclasses.dataclass
class Region:
    nodes: List[Any] = dataclasses.field(default_factory=list)
    floating: List[Any] = dataclasses.field(default_factory=list)  # between the nodes
    local: Set[int] = dataclasses.field(default_factory=set)
    values: Dict[int, Any] = dataclasses.field(default_factory=dict)  # TorchScript values by number, of leaves and results
    after: Set[int] = dataclasses.field(default_factory=set)  # results of floating nodes that need the region first
    arguments: List[List[Any]] = dataclasses.field(default_factory=list)  # per node

    def leaves(self) -> List[Leaf]:
        found: Dict[Leaf, None] = {}
        for arguments in self.arguments:
            for leaf in _leaves(arguments):
                found.setdefault(leaf)
        return list(found)

    def outputs(self, known: Interpreter) -> List[Any]:
        """Results that something outside of the region uses."""
        return [v for node in self.nodes for v in node.outputs() if self._needed(v, known)]

    def _needed(self, value, known) -> bool:
        inside = set(self.nodes)
        for use in value.uses():
            if use.user in inside:
                continue
            if not _is_bookkeeping(use.user, known) or any(self._needed(v, known) for v in use.user.outputs()):
                return True
        return False


def _is_bookkeeping(node, known) -> bool:
    """Whether it only builds lists and numbers, which nobody misses when nobody uses them."""
    if node.kind() in STRUCTURE or node.kind() in QUERIES:
        return True
    return node.kind() in FUNCTIONS and not any(isinstance(known.of(v), torch.Tensor) for v in node.outputs())


class Resolver:
    """Says where the arguments of a node come from, seen from a region."""

    def __init__(self, known: Interpreter, region: Region):
        self.known, self.region = known, region

    def resolve(self, value) -> Any:
        """Local, Leaf, a number or other plain value, or a list of these. Raises LookupError when the value is none of them."""
        key, node, known = value.unique(), value.node(), self.known.of(value)
        if key in self.region.local:
            return [Local(key, k) for k in range(len(known))] if isinstance(known, (list, tuple)) else Local(key)
        if node.kind() in UNPACK | INDEX and self._inside(value):
            items = self.resolve(next(iter(node.inputs())))
            return items[value.offset()] if node.kind() in UNPACK else items[self.known.of(list(node.inputs())[1])]
        if isinstance(known, (torch.Tensor, Number)):
            return self._leaf(value)
        if isinstance(known, (list, tuple)):
            if node.kind() in ("prim::ListConstruct", "prim::TupleConstruct"):
                return [self.resolve(v) for v in node.inputs()]
            if any(isinstance(k, torch.Tensor) for k in known):
                return [self._leaf(value, k) for k in range(len(known))]
        if isinstance(known, (Unknown, dict)) or not _plain(known):
            raise LookupError(known.reason if isinstance(known, Unknown) else f"value {value.debugName()} cannot be followed")
        return known

    def _inside(self, value) -> bool:
        if value.unique() in self.region.local:
            return True
        node = value.node()
        return node.kind() in UNPACK | INDEX and self._inside(next(iter(node.inputs())))

    def _leaf(self, value, index=-1):
        if value.unique() in self.region.after:
            raise _NeedsRegionFirst
        self.region.values[value.unique()] = value
        return Leaf(value.unique(), index)


class _NeedsRegionFirst(Exception):
    pass


def _plain(known) -> bool:
    if isinstance(known, list):
        return all(_plain(k) for k in known)
    return known is None or isinstance(known, (bool, int, float, str, torch.SymInt, torch.device))


def _leaves(argument):
    if isinstance(argument, Leaf):
        yield argument
    elif isinstance(argument, list):
        for item in argument:
            yield from _leaves(item)


class Finder:
    """Finds the regions of a graph. reasons: why a node that makes tensors is in none."""

    def __init__(self, graph, known: Interpreter):
        self.graph, self.known, self.aliases = graph, known, known.aliases
        self.writes = list(writes(graph))
        self.barred: Dict[Any, str] = {}
        self.reasons: Dict[Any, str] = {}

    def find(self) -> List[Region]:
        while True:
            self.reasons = dict(self.barred)
            regions: List[Region] = []
            self.block(self.graph, regions)
            conflicts = [c for region in regions for c in self.conflicts(region)]
            if not conflicts:
                return regions
            self.barred.update(conflicts)

    def block(self, block, regions):
        region = Region()

        def close():
            nonlocal region
            if region.nodes:
                regions.append(region)
            region = Region()

        for node in block.nodes():
            reason = self.barrier(node)
            if reason is None:
                if not self.add(region, node):
                    close()
                    self.add(region, node)
            elif self.floats(node):
                self.note(node, reason)
                if region.nodes:
                    region.floating.append(node)
                if any(v.unique() in region.local | region.after for v in node.inputs()):
                    region.after.update(v.unique() for v in node.outputs())
            else:
                self.note(node, reason)
                close()
                for inner in node.blocks():
                    self.block(inner, regions)
        close()

    def note(self, node, reason):
        if makes_tensors(node) and overload(node) is not None and not all(isinstance(self.known.of(v), Number) for v in node.outputs()):
            self.reasons[node] = reason

    def add(self, region, node) -> bool:
        resolver = Resolver(self.known, region)
        try:
            arguments = [resolver.resolve(v) for v in node.inputs()]
        except _NeedsRegionFirst:
            return False
        region.arguments.append(arguments)
        region.nodes.append(node)
        for value in node.outputs():
            region.local.add(value.unique())
            region.values[value.unique()] = value
        return True

    def barrier(self, node):
        """Why the node cannot be in a region, or None."""
        op = overload(node)
        if node in self.barred:
            return self.barred[node]
        if op is None or not makes_tensors(node):
            return "it is not a tensor operator"
        if node in self.known.failures:
            return self.known.failures[node]
        if node in self.known.run_time_numbers:
            return self.known.run_time_numbers[node]
        if self.draws(node):
            return "it draws random numbers, whose order is TorchScript's"
        for value in node.outputs():
            if reason := _not_tensors(self.known.of(value)):
                return reason
        try:
            for value in node.inputs():
                Resolver(self.known, Region()).resolve(value)
        except LookupError as error:
            return str(error.args[0])
        return None

    def draws(self, node) -> bool:
        """Whether it takes random numbers: dropout outside of training takes none."""
        op = overload(node)
        if op is None or torch.Tag.nondeterministic_seeded not in op.tags:
            return bool(node.isNondeterministic())
        given = {formal.name: self.known.of(value) for formal, value in zip(op._schema.arguments, node.inputs())}
        return not (given.get("dropout_p") == 0 or given.get("train") is False)

    def floats(self, node) -> bool:
        """Whether it has no side effect and reads nothing that is written."""
        kind, op = node.kind(), overload(node)
        if kind in STRUCTURE or kind in QUERIES:
            return True
        if kind == "prim::GetAttr":
            return node.s("name") not in self.known.set_attributes
        if kind not in READS and kind not in FUNCTIONS and (op is None or not makes_tensors(node)):
            return False
        if op is not None and (op._schema.is_mutable or self.draws(node)):
            return False
        return not any(self.aliases.has_writers(v) for v in [*node.inputs(), *node.outputs()])

    def conflicts(self, region) -> List[Tuple[Any, str]]:
        inside = set(region.nodes)
        leaves = [region.values[leaf.value] for leaf in region.leaves()]
        outputs = region.outputs(self.known)
        found = []
        for value in outputs:
            shares = any(self.aliases.may_contain_alias(value, other) for other in [*leaves, *outputs] if other is not value)
            if shares and self.aliases.has_writers(value) and not all(w in inside for w in self.writers(value)):
                found.append((value.node(), "it shares memory with another value, and a part of the program outside of the engine writes to it"))
        for node, written in self.writes:
            if node in inside and sum(self.aliases.may_contain_alias(leaf, written) for leaf in leaves) > 1:
                found.append((node, "it writes to memory that several inputs may share"))
        return found

    def writers(self, value):
        """Nodes that may write to the value's memory; [None] when they cannot be named (calls of methods)."""
        return [w for w, written in self.writes if self.aliases.may_contain_alias(value, written)] or [None]


def _not_tensors(known):
    if isinstance(known, Unknown):
        return known.reason
    if isinstance(known, (list, tuple)):
        return next((r for r in map(_not_tensors, known) if r), None)
    return None if isinstance(known, torch.Tensor) else "its result is a number"
