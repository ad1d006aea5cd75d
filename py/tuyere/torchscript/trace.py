# SPDX-License-Identifier: Apache-2.0
"""A region of TorchScript nodes -> FX graph of functional ATen calls with fake values, as lower() takes it."""

import dataclasses
import operator
import re
from typing import Any, Dict, List

import torch

from .. import _compat, decompositions
from ..sizes import SizeEmitter
from .interpret import Interpreter, overload, split_arguments
from .regions import Leaf, Local, Region


@dataclasses.dataclass
class Traced:
    """gm: the functional graph. constants: placeholder -> (name, tensor, False). inputs: the other placeholders' leaves. outputs: the TorchScript values that
    the graph's results stand for, with the number of tensors when it is a list, else None. mutations: result -> placeholder that it is written to."""

    gm: torch.fx.GraphModule
    constants: Dict[Any, Any]
    inputs: List[Leaf]
    outputs: List[Any]
    mutations: Dict[int, Any]


def trace(region: Region, known: Interpreter, graph_inputs) -> Traced:
    """graph_inputs: leaves that carry symbolic sizes, for regions whose own inputs do not."""
    builder = _Builder(region, known, graph_inputs)
    raw = builder.build()
    with torch.no_grad(), _compat.keep_composite_ops():
        gm, signature = _compat.aot_export_module(raw, builder.fakes, trace_joint=False, decompositions=decompositions.for_compile(training=False))
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    constants, inputs = {}, []
    for leaf, placeholder in zip(builder.leaves, placeholders):
        constant = known.constants.get((leaf.value, leaf.index))
        if constant is None:
            inputs.append(leaf)
        else:
            name = region.values[leaf.value].debugName().removeprefix("self.")
            constants[placeholder] = (name if leaf.index < 0 else f"{name}.{leaf.index}", constant, False)
    by_name = {n.name: n for n in placeholders}
    mutations = {k: by_name[signature.user_inputs_to_mutate[name]] for k, name in enumerate(_output_names(gm)) if name in signature.user_inputs_to_mutate}
    return Traced(gm, constants, inputs, builder.outputs, mutations)


def _output_names(gm):
    """Of the first results; user outputs follow the mutated inputs, so that a name that occurs twice is a mutation only once."""
    seen = set()
    for node in next(n for n in gm.graph.nodes if n.op == "output").args[0]:
        name = getattr(node, "name", None)
        yield None if name in seen else name
        seen.add(name)


class _Builder:
    """Calls of the dispatcher's operators, in order, in place operations included."""

    def __init__(self, region, known, graph_inputs):
        self.region, self.known = region, known
        self.graph = torch.fx.Graph()
        self.leaves: List[Leaf] = region.leaves()
        self.fakes: List[Any] = []
        self.new_of: Dict[Any, Any] = {}
        self.outputs: List[Any] = []
        self._carry_symbols(graph_inputs)

    def _carry_symbols(self, graph_inputs):
        """Every symbol must be a dimension of some input."""
        used = set()
        for node in self.region.nodes:
            for value in [*node.inputs(), *node.outputs()]:
                used |= _symbols(self.known.of(value))
        bound = set().union(*(_whole_dims(self._fake(leaf)) for leaf in self.leaves))
        for leaf, value in graph_inputs:
            extra = _whole_dims(self.known.of(value)) & used - bound
            if extra and leaf not in self.leaves:
                self.leaves.append(leaf)
                self.region.values[leaf.value] = value
                bound |= extra

    def _fake(self, leaf):
        known = self.known.of(self.region.values[leaf.value])
        known = known if leaf.index < 0 else known[leaf.index]
        return known if isinstance(known, torch.Tensor) else self.known.mode_tensor(known.value)

    def build(self) -> torch.fx.GraphModule:
        for number, leaf in enumerate(self.leaves):
            node = self.graph.placeholder(f"input_{number}")
            node.meta["val"] = self._fake(leaf)
            self.fakes.append(node.meta["val"])
            self.new_of[leaf] = node
        self.sizes = SizeEmitter(self, self.graph, lambda node: node)
        for node, arguments in zip(self.region.nodes, self.region.arguments):
            self.call(node, arguments)
        self.graph.output(tuple(self.results()))
        return torch.fx.GraphModule(torch.nn.Module(), self.graph)

    def call(self, node, arguments):
        op = overload(node)
        args, kwargs = split_arguments(op, [self.argument(a) for a in arguments])
        new = self.graph.call_function(op, tuple(args), kwargs)
        new.meta["nn_module_stack"] = {module_path(node): (module_path(node), torch.nn.Module)}
        new.meta["stack_trace"] = stack_trace(node)
        outputs = list(node.outputs())
        for position, value in enumerate(outputs):
            result = new if len(outputs) == 1 else self.graph.call_function(operator.getitem, (new, position))
            self.new_of[Local(value.unique())] = result
            known = self.known.of(value)
            for k in range(len(known) if isinstance(known, (list, tuple)) else 0):
                self.new_of[Local(value.unique(), k)] = self.graph.call_function(operator.getitem, (result, k))

    def argument(self, value):
        if isinstance(value, (Leaf, Local)):
            return self.new_of[value]
        if isinstance(value, list):
            return [self.argument(v) for v in value]
        return self.sizes.size(value) if isinstance(value, torch.SymInt) else value

    def results(self):
        for value in self.region.outputs(self.known):
            known = self.known.of(value)
            if isinstance(known, (list, tuple)):
                self.outputs.append((value, len(known)))
                yield from (self.new_of[Local(value.unique(), k)] for k in range(len(known)))
            else:
                self.outputs.append((value, None))
                yield self.new_of[Local(value.unique())]


def _symbols(known):
    if isinstance(known, torch.Tensor):
        return set().union(*(_symbols(s) for s in known.shape))
    if isinstance(known, (list, tuple)):
        return set().union(*(_symbols(k) for k in known))
    return known.node.expr.free_symbols if isinstance(known, torch.SymInt) else set()


def _whole_dims(known):
    sizes = known.shape if isinstance(known, torch.Tensor) else ()
    return {s.node.expr for s in sizes if isinstance(s, torch.SymInt) and s.node.expr.is_symbol}


def module_path(node) -> str:
    """ "layer1.0.conv1" of "layer1(Sequential).0(BasicBlock).conv1(Conv2d)"."""
    parts = re.sub(r"\([^()]*\)", "", node.getModuleHierarchy()).split(".")
    return ".".join(p for p in parts if p and p not in ("SELF", "UNKNOWN_INSTANCE"))


def source_place(node) -> str:
    """ "model.py:88" of the user's code, or ""."""
    found = re.search(r'File "(?:[^"]*/)?([^"/]+)", line (\d+)', stack_trace(node))
    return f"{found.group(1)}:{found.group(2)}" if found else ""


def stack_trace(node) -> str:
    """The place in the user's code, in the form of a Python traceback."""
    text = node.sourceRange()
    found = re.search(r'File "[^"]+", line \d+', text)
    if found:
        return found.group(0)
    traced = re.search(r"^(\S+)\((\d+)\): ", text)
    return f'File "{traced.group(1)}", line {traced.group(2)}' if traced else ""
