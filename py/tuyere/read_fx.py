# SPDX-License-Identifier: Apache-2.0
"""Reads an FX graph of ATen calls into a SourceGraph (converters/source/source.h)."""

import dataclasses
import re
from typing import Any, Dict, List, Optional, Set

import torch

from . import _tuyere
from .carriers import is_carrier
from .draws import draws_random_numbers
from .symbols import UnsupportedSize, expression_text, size_text, stride_texts

aten = torch.ops.aten
DTYPES = {
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.float64: "f64",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "bool",
    torch.float8_e4m3fn: "f8e4m3",
    torch.float8_e5m2: "f8e5m2",
}
TORCH_DTYPES = {name: dtype for dtype, name in DTYPES.items()}
# Their results were traced with sizes that say nothing: PyTorch ran them on zeros, for want of a rule.
_UNTRACED = frozenset((aten._unique.default,))


@dataclasses.dataclass
class ReadGraph:
    """A SourceGraph and the way back from its values and nodes to the FX graph."""

    source: Any
    nodes: List[torch.fx.Node]  # FX node of each source node
    value_of: Dict[Any, int]  # FX node, or (node, output index) -> value
    node_of: Dict[int, Any]  # the inverse
    params: Dict[str, torch.fx.Node]  # constant name -> placeholder or get_attr


class _Reader:
    def __init__(self, gm: torch.fx.GraphModule, constants: Dict[torch.fx.Node, Any], name: str):
        self.gm = gm
        self.constants = constants
        self.untraced: Set[torch.fx.Node] = set()  # nodes of which nothing is known
        self.out = ReadGraph(_tuyere.SourceGraph(), [], {}, {}, {})
        self.out.source.name = name

    def bind(self, key, value: int):
        self.out.value_of[key] = value
        self.out.node_of[value] = key

    # -- values
    def new_value(self, name: str, meta) -> int:
        source = self.out.source
        if isinstance(meta, torch.Tensor):
            return self.new_tensor(name, meta)
        if isinstance(meta, (torch.SymInt, int)) and not isinstance(meta, bool):
            try:
                text = str(meta) if isinstance(meta, int) else expression_text(meta.node.expr)
                return source.add_dim(name, text)
            except UnsupportedSize:
                pass
        return source.add_opaque(name)

    def new_tensor(self, name: str, meta: torch.Tensor) -> int:
        dtype = DTYPES.get(meta.dtype)
        plain = meta.layout == torch.strided and not meta.is_quantized
        if dtype is None or not plain:
            return self.out.source.add_opaque(name)
        try:
            shape = [size_text(s) for s in meta.shape]
            strides = stride_texts(meta)
        except UnsupportedSize:
            return self.out.source.add_opaque(name)
        return self.out.source.add_tensor(name, dtype, shape, strides, str(meta.device))

    def constant(self, node, name: str, tensor: torch.Tensor, is_param: bool):
        value = self.new_tensor(node.name, tensor)
        self.bind(node, value)
        dtype = DTYPES.get(tensor.dtype)
        if dtype is None or tensor.layout != torch.strided:
            return
        data = tensor.detach().contiguous().cpu()
        self.out.source.add_constant(value, name, data.data_ptr(), data.numel() * data.element_size(), is_param)
        self.out.params[name] = node

    # -- nodes
    def read(self) -> ReadGraph:
        source = self.out.source
        inputs, outputs = [], []
        for node in self.gm.graph.nodes:
            if node in self.constants:
                name, tensor, is_param = self.constants[node]
                self.constant(node, name, tensor, is_param)
            elif node.op == "placeholder" or is_carrier(node):
                value = self.new_value(node.name, node.meta.get("val"))
                self.bind(node, value)
                inputs.append(value)
            elif node.op == "get_attr":
                self.get_attr(node)
            elif node.op == "call_function":
                self.call(node)
            elif node.op == "output":
                results = node.args[0] if isinstance(node.args[0], (tuple, list)) else (node.args[0],)  # a loop's condition returns one tensor
                outputs = [self.out.value_of.get(n, -1) if isinstance(n, torch.fx.Node) else -1 for n in results]
        source.inputs, source.outputs = inputs, outputs
        return self.out

    def get_attr(self, node):
        target = self.gm
        for part in node.target.split("."):
            target = getattr(target, part)
        if isinstance(target, torch.Tensor):
            self.constant(node, node.target, target, False)
        else:
            self.bind(node, self.out.source.add_opaque(node.name))

    def call(self, node):
        meta = node.meta.get("val")
        if node.target in _UNTRACED or not self.untraced.isdisjoint(node.all_input_nodes):
            self.untraced.add(node)
            meta = [None] * len(meta) if isinstance(meta, (tuple, list)) else None
        if node.target is _getitem and (node.args[0], node.args[1]) in self.out.value_of:
            self.bind(node, self.out.value_of[(node.args[0], node.args[1])])
            return  # others stay nodes: what higher-order ops return is nested, or not described
        if isinstance(meta, (torch.SymInt, int)) and not isinstance(meta, bool):
            value = self.new_value(node.name, meta)
            self.bind(node, value)
            if _is_plain_size(meta):
                return  # sizes are expressions; the node itself needs no kernel
            self.add(node, op_name(node), [], [value])
            return
        self.add(node, op_name(node), self.arguments(node), self.results(node, meta))

    def results(self, node, meta) -> List[int]:
        if isinstance(meta, (tuple, list)):
            values = []
            for k, m in enumerate(meta):
                value = self.new_value(f"{node.name}_{k}", m)
                self.bind((node, k), value)
                values.append(value)
            self.out.value_of[node] = values[0] if values else -1
            return values
        value = self.new_value(node.name, meta)
        self.bind(node, value)
        return [value]

    def add(self, node, op, args, outputs):
        schema = getattr(node.target, "_schema", None)
        mutates = bool(schema and schema.is_mutable)
        # Random ops may be hosted: an engine calls its hosted ops in the order of the graph.
        side_effect = node.is_impure(impure_random=False) if not op.startswith("aten::_assert") else False
        origin = [module_path(node), source_line(node)]
        self.out.source.add_node(node.name, op, args, outputs, origin, mutates, side_effect, draws_random_numbers(node))
        self.out.nodes.append(node)

    def arguments(self, node):
        schema = getattr(node.target, "_schema", None)
        if node.target in _BODIES:
            return self.control_arguments(node)
        if schema is None:  # a higher-order op or a Python function: only its tensors matter
            return [(f"arg{i}", "Any", self.argument(a)) for i, a in enumerate(node.all_input_nodes)]
        args = []
        for k, formal in enumerate(schema.arguments):
            if k < len(node.args):
                value = node.args[k]
            elif formal.name in node.kwargs:
                value = node.kwargs[formal.name]
            else:
                value = formal.default_value if formal.has_default_value() else None
            args.append((formal.name, str(formal.type), self.argument(value)))
        symbolic = set(re.findall(r"SymInt\[\d*\]\??\s+(\w+)", str(schema)))  # the types of the arguments themselves say int
        return [(name, _schema_type(text).replace("int", "SymInt") if name in symbolic else _schema_type(text), value) for name, text, value in args]

    def control_arguments(self, node):
        """torch.cond and while_loop: graphs of bodies travel as text."""
        args = []
        for name, value in zip(_BODIES[node.target], node.args):
            body = getattr(self.gm, value.target, None) if isinstance(value, torch.fx.Node) and value.op == "get_attr" else None
            if isinstance(body, torch.fx.GraphModule):
                args.append((name, "str", str(_Reader(body, {}, name).read().source)))
            else:
                args.append((name, "Any", self.argument(value)))
        return args

    def argument(self, value):
        if isinstance(value, torch.fx.Node):
            meta = value.meta.get("val")
            if isinstance(meta, (torch.SymInt, int)) and _is_plain_size(meta):
                return meta if isinstance(meta, int) else _tuyere.DimExpr(expression_text(meta.node.expr))
            return _tuyere.Value(self.out.value_of[value])
        if isinstance(value, torch.dtype):
            return _tuyere.DType(DTYPES[value]) if value in DTYPES else str(value)
        if isinstance(value, (torch.device, torch.memory_format, torch.layout)):
            return str(value)
        if isinstance(value, complex):
            return str(value)
        if isinstance(value, (list, tuple)):
            return [self.argument(v) for v in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        return str(value)


_getitem = __import__("operator").getitem
_BODIES = {
    torch.ops.higher_order.cond: ("pred", "true_graph", "false_graph", "operands"),
    torch.ops.higher_order.while_loop: ("cond_graph", "body_graph", "carried_inputs", "additional_inputs"),
}


def _is_plain_size(meta) -> bool:
    if isinstance(meta, int):
        return True
    try:
        expression_text(meta.node.expr)
        return True
    except UnsupportedSize:
        return False


def op_name(node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        name = target.name()  # "aten::add.Tensor"
        return name
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"higher_order::{target.name()}"
    return f"python::{getattr(target, '__name__', str(target))}"


def _schema_type(text: str) -> str:
    """TorchScript's print of a type -> the schema spelling: "Optional[Tensor]" -> "Tensor?", "List[int]" -> "int[]"."""
    match = re.fullmatch(r"Optional\[(.*)\]", text)
    if match:
        return _schema_type(match.group(1)) + "?"
    match = re.fullmatch(r"List\[(.*)\]", text)
    if match:
        return _schema_type(match.group(1)) + "[]"
    return text


def module_path(node: torch.fx.Node) -> str:
    """Path of the innermost module, as the user names it: "encoder.layers.3.attn"."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = list(stack.values())[-1][0]
    path = re.sub(r"^L\['self'\]\.?", "", path)
    path = re.sub(r"_modules\['([^']*)'\]", r"\1", path)
    return re.sub(r"\['?([^'\]]*)'?\]", r".\1", path).strip(".")


def source_line(node: torch.fx.Node) -> str:
    """ "model.py:88" of the user's code that made the node, or ""."""
    trace = node.meta.get("stack_trace") or ""
    lines = re.findall(r'File "([^"]+)", line (\d+)', trace)
    if not lines:
        return ""
    path, line = lines[-1]
    return f"{path.rsplit('/', 1)[-1]}:{line}"


def read_fx(gm: torch.fx.GraphModule, constants: Optional[Dict[torch.fx.Node, Any]] = None, name: str = "graph") -> ReadGraph:
    """Reads gm. constants: placeholder -> (name, tensor, is_param) for those whose value is known and may be built in."""
    return _Reader(gm, constants or {}, name).read()
