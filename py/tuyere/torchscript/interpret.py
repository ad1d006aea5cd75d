# SPDX-License-Identifier: Apache-2.0
"""What is known about the values of a TorchScript graph before it runs: fake tensors, numbers, lists and tuples of them, or Unknown with the reason."""

import contextlib
import re
from typing import Any, Dict, List, Tuple

import torch

from .. import _compat
from .scalars import FUNCTIONS, Number, Unknown, known_truth

# Queries that a fake tensor answers. Not strides: those of an engine's results are the engine's choice.
QUERIES: Dict[str, Any] = {
    "aten::size": lambda t, dim=None: list(t.shape) if dim is None else t.shape[dim],
    "aten::dim": lambda t: t.dim(),
    "aten::numel": lambda t: t.numel(),
    "aten::len": lambda t: t.shape[0],
    "aten::is_floating_point": lambda t: t.is_floating_point(),
    "aten::is_complex": lambda t: t.is_complex(),
    "prim::dtype": lambda t: _compat.to_script_number(t.dtype),
    "prim::device": lambda t: t.device,
    "prim::is_cuda": lambda t: t.is_cuda,
    "prim::requires_grad": lambda t: False,
}

PASSED_ON = ("aten::__is__", "aten::__isnot__", "prim::unchecked_cast")  # take tensors without looking into them


def overload(node):
    """The OpOverload that a node calls, or None for TorchScript's operators on numbers, lists and dicts."""
    schema = node.schema()
    if schema == "(no schema)":
        return None
    parsed = _compat.parse_schema(schema)
    if parsed.name == "aten::_convolution":  # of traced modules: a convolution and four flags of cuDNN
        return torch.ops.aten.convolution.default
    namespace, name = parsed.name.split("::")
    try:
        op = getattr(getattr(getattr(torch.ops, namespace), name), parsed.overload_name or "default")
    except AttributeError:
        return None
    of_script_only = namespace == "prim" or (node.kind() in FUNCTIONS and not _compat.in_dispatcher(op))
    return None if of_script_only else op


def makes_tensors(node) -> bool:
    return any("Tensor" in str(v.type().annotation_str) for v in node.outputs())


def split_arguments(op, values):
    """Positional and keyword arguments, with dtypes and layouts that TorchScript keeps as numbers turned back."""
    args, kwargs = [], {}
    for formal, value in zip(op._schema.arguments, values):
        value = _compat.from_script_number(str(formal.real_type), value)
        if formal.kwarg_only:
            kwargs[formal.name] = value
        else:
            args.append(value)
    return args, kwargs


class Interpreter:
    """Walks a graph once. known: what each value is (see of()). failures: nodes on whose results nothing is known, with the reason."""

    def __init__(self, graph, fake_mode, module=None):
        self.graph, self.mode, self.module = graph, fake_mode, module
        self.aliases = graph.alias_db()
        self.known: Dict[int, Any] = {}
        self.failures: Dict[Any, str] = {}
        self.run_time_numbers: Dict[Any, str] = {}  # nodes that take a number that is not known yet
        self.constants: Dict[Tuple[int, int], torch.Tensor] = {}  # value, position in its list or -1 -> tensor of a prim::Constant
        self.objects: Dict[int, Any] = {}  # value -> (sub)module
        self.set_attributes = {n.s("name") for n in graph.findAllNodes("prim::SetAttr")}
        self.reshaped = [v for node, v in writes(graph) if torch.Tag.inplace_view in overload(node).tags]

    def run(self, inputs: List[Any]) -> "Interpreter":
        """inputs: what is known about the graph's inputs, without the module itself."""
        formals = list(self.graph.inputs())
        if self.module is not None:
            self.objects[formals[0].unique()] = self.module
            formals = formals[1:]
        for value, known in zip(formals, inputs):
            self.bind(value, known)
        with self.mode, torch.no_grad(), _compat.ignored_unbacked_symbols(self.mode):
            self.block(self.graph)
        return self

    def of(self, value):
        return self.known.get(value.unique(), _UNSEEN)

    def bind(self, value, known):
        """Lists that are changed in place, tensors that change their shape, and numbers that are tensors which are written to, cannot be followed."""
        if isinstance(known, torch.Tensor) and any(self.aliases.may_contain_alias(value, v) for v in self.reshaped):
            known = Unknown("its shape is changed in place")
        if isinstance(known, (list, dict, Number)) and self.aliases.has_writers(value):
            known = self.mode_tensor(known.value) if isinstance(known, Number) else Unknown("a list or dict is changed in place")
        self.known[value.unique()] = known

    def mode_tensor(self, number):
        with self.mode:
            return torch.empty((), dtype=torch.float64 if isinstance(number, float) else torch.int64)

    def block(self, block):
        for node in block.nodes():
            self.node(node)

    def node(self, node):
        self.failures.pop(node, None)
        self.run_time_numbers.pop(node, None)
        outputs = list(node.outputs())
        handler = getattr(self, "do_" + node.kind().replace("::", "_"), None)
        try:
            results = handler(node) if handler else [self.call(node)]
        except Exception as error:  # a fake kernel may fail in any way; the node then stays in TorchScript
            results = [Unknown(_short(error))] * len(outputs)
            self.failures[node] = _short(error)
        if len(results) == 1 and len(outputs) > 1:
            known = results[0]
            results = list(known) if isinstance(known, (tuple, list)) else [known] * len(outputs)
        for value, known in zip(outputs, results):
            self.bind(value, known)

    # -- structure
    def do_prim_Constant(self, node):
        value = node.output()
        constant = value.toIValue()
        if isinstance(constant, torch.Tensor):
            self.constants[value.unique(), -1] = constant
            return [self.mode.from_tensor(constant, static_shapes=True)]
        if isinstance(constant, list) and any(isinstance(c, torch.Tensor) for c in constant):  # the weights of an LSTM
            self.constants.update({(value.unique(), k): c for k, c in enumerate(constant)})
            return [[self.mode.from_tensor(c, static_shapes=True) for c in constant]]
        return [constant]

    def do_prim_ListConstruct(self, node):
        return [[self.of(v) for v in node.inputs()]]

    def do_prim_TupleConstruct(self, node):
        return [tuple(self.of(v) for v in node.inputs())]

    def do_prim_DictConstruct(self, node):
        items = [self.of(v) for v in node.inputs()]
        return [dict(zip(items[::2], items[1::2]))]

    def do_prim_ListUnpack(self, node):
        return self._unpack(node)

    def do_prim_TupleUnpack(self, node):
        return self._unpack(node)

    def _unpack(self, node):
        items = self.of(node.input())
        return [items] * node.outputsSize() if isinstance(items, Unknown) else list(items)

    def do_prim_TupleIndex(self, node):
        items, index = (self.of(v) for v in node.inputs())
        return [items if isinstance(items, Unknown) else items[index]]

    def do_prim_GetAttr(self, node):
        owner = self.objects.get(node.input().unique())
        name, value = node.s("name"), node.output()
        if owner is None or name in self.set_attributes:
            return [Unknown(f"attribute {name} is set while the module runs")]
        attribute = getattr(owner, name)
        if isinstance(attribute, torch.Tensor):
            return [self.mode.from_tensor(attribute, static_shapes=True)]
        self.objects[value.unique()] = attribute
        return [Unknown(f"attribute {name}")]

    # -- control flow
    def do_prim_If(self, node):
        condition = self.of(node.input())
        truth = None if isinstance(condition, Unknown) else known_truth(condition)
        blocks = list(node.blocks())
        if truth is not None:
            taken = blocks[0 if truth else 1]
            self.block(taken)
            return [self.of(v) for v in taken.outputs()]
        for block in blocks:
            self.block(block)
        return [self.join(self.of(a), self.of(b)) for a, b in zip(blocks[0].outputs(), blocks[1].outputs())]

    def do_prim_Loop(self, node):
        body = next(iter(node.blocks()))
        counter, *carried = body.inputs()
        state = [self.of(v) for v in list(node.inputs())[2:]]
        while True:  # every round but the last knows less than the one before
            self.bind(counter, Unknown("the number of an iteration"))
            for value, known in zip(carried, state):
                self.bind(value, known)
            self.block(body)
            after = [self.join(old, self.of(v)) for old, v in zip(state, list(body.outputs())[1:])]
            if all(self.same(old, new) for old, new in zip(state, after)):
                break
            state = after
        return state

    def join(self, a, b):
        """What is known about a value that is a on one path and b on the other."""
        if self.same(a, b):
            return a
        if isinstance(a, Number) or isinstance(b, Number):
            a, b = (self.mode_tensor(v.value) if isinstance(v, Number) else v for v in (a, b))
            return self.join(a, b)
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            return tuple(self.join(x, y) for x, y in zip(a, b))
        return Unknown("it is not the same, or has not the same shape, on all paths through an if or a loop")

    def same(self, a, b) -> bool:
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            return isinstance(a, Unknown) and isinstance(b, Unknown)
        if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
            return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and _same_type(a, b)
        if isinstance(a, (list, tuple)):
            return type(a) is type(b) and len(a) == len(b) and all(self.same(x, y) for x, y in zip(a, b))
        if isinstance(a, dict) or isinstance(b, dict):
            return False
        return type(a) is type(b) and known_truth(a == b) is True

    # -- calls
    def call(self, node):
        values = [self.of(v) for v in node.inputs()]
        kind = node.kind()
        if kind in QUERIES and values and isinstance(values[0], torch.Tensor):
            return QUERIES[kind](*values)
        numbers = [self.number(v, k) for v, k in zip(node.inputs(), values)]
        wants_tensor = kind not in PASSED_ON and any(isinstance(k, torch.Tensor) for k in numbers)
        if kind in FUNCTIONS and not wants_tensor and not _changes(node):
            return self.scalar(node, kind, numbers)
        if not makes_tensors(node):
            reason = next((k.reason for k in values if isinstance(k, Unknown)), f"{kind} reads data")
            return Unknown(reason)
        return self.tensor_op(node, values)

    def number(self, value, known):
        """The number in a zero-dimensional tensor, when known."""
        if isinstance(known, Number):
            return known.value
        constant = self.constants.get((value.unique(), -1))
        if constant is not None and constant.dim() == 0 and not constant.is_floating_point() and constant.device.type == "cpu":
            return constant.item()
        return known

    def scalar(self, node, kind, values):
        for known in values:
            if isinstance(known, Unknown):
                return known
        if kind in ("aten::add", "aten::sub") and len(values) == 3:  # of tensors, with alpha
            values = [values[0], values[1] * values[2]]
        result = FUNCTIONS[kind](*values)
        if isinstance(result, torch.SymBool):
            truth = known_truth(result)
            result = Unknown("it depends on a dynamic size") if truth is None else truth
        plain = isinstance(result, (int, float, torch.SymInt)) and not isinstance(result, bool)
        return Number(result) if plain and makes_tensors(node) else result

    def tensor_op(self, node, values):
        op = overload(node)
        if op is None:
            return Unknown(f"{node.kind()} is not an operator that can be captured")
        if torch.Tag.inplace_view in op.tags:
            return Unknown("it changes the shape of a tensor in place")
        arguments = [self.argument(node, formal, value, known) for formal, value, known in zip(op._schema.arguments, node.inputs(), values)]
        for known in arguments:
            if isinstance(known, Unknown):
                return known
        args, kwargs = split_arguments(op, arguments)
        with _compat.without_guards(self.mode) if _picks_kernel_by_size(op) else contextlib.nullcontext():
            return self.settle(op(*args, **kwargs))

    def argument(self, node, formal, value, known):
        """A value as a fake kernel takes it. Numbers that are not known yet get a stand-in: they rarely decide a shape."""
        if isinstance(known, Number):
            return self.mode_tensor(known.value)
        if isinstance(known, Unknown):
            kind = str(value.type().annotation_str)
            if kind not in ("int", "float"):
                return known
            self.run_time_numbers[node] = f"argument {formal.name} is only known at run time: {known.reason}"
            return _compat.unbacked_int(self.mode) if kind == "int" else 1.5
        if isinstance(known, list):
            return next((k for k in known if isinstance(k, Unknown)), [self.mode_tensor(k.value) if isinstance(k, Number) else k for k in known])
        return known

    def settle(self, result):
        """Results whose sizes depend on data are Unknown."""
        if isinstance(result, torch.Tensor):
            if not isinstance(result, _compat.FakeTensor):  # made by an operator of TorchScript that is none of the dispatcher
                result = self.mode.from_tensor(result, static_shapes=True)
            return Unknown("its size depends on data") if _compat.free_unbacked_symbols(result) else result
        if isinstance(result, (tuple, list)):
            return type(result)(self.settle(r) for r in result) if type(result) in (tuple, list) else tuple(self.settle(r) for r in result)
        return result


def writes(block):
    """(node, value) for every tensor argument that a node of the block, or of a block inside of it, writes to."""
    for node in block.nodes():
        op = overload(node)
        if op is not None and op._schema.is_mutable:
            for formal, value in zip(op._schema.arguments, node.inputs()):
                if formal.alias_info is not None and formal.alias_info.is_write:
                    yield node, value
        for inner in node.blocks():
            yield from writes(inner)


def _changes(node) -> bool:
    op = overload(node)
    return op is not None and op._schema.is_mutable


def _picks_kernel_by_size(op) -> bool:
    """Fake convolutions ask which kernel PyTorch would take, for nothing but the strides of the result."""
    return op._schema.name.startswith(("aten::conv", "aten::_convolution"))


def _same_type(a, b) -> bool:
    if a.dtype != b.dtype or a.device != b.device or a.dim() != b.dim() or a.layout != b.layout:
        return False
    return all(known_truth(x == y) is True for x, y in zip(a.shape, b.shape))


def _short(error) -> str:
    text = re.split(r"\n\s*\n|\n", str(error).strip())[0] or type(error).__name__
    return text[:200]


_UNSEEN = Unknown("it lies on a path that is never taken with these inputs")
