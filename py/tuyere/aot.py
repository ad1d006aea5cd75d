# SPDX-License-Identifier: Apache-2.0
"""Ahead of time: nn.Module -> torch.export -> Program, an nn.Module whose convertible parts are engines."""

import inspect
import json
import os
import zipfile
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from . import _compat, decompositions
from .engine import Engine, check_memory
from .lower import LowerSettings, lower
from .options import Options, parse_options
from .report import Report
from .torchscript import compile_script, is_script
from .watch import Watch

_REPORT_FILE = "tuyere_report.json"
_MAGIC = b"tuyere-engine-1"


def compile(model, inputs: Sequence[Any], *, kwargs: Optional[Dict[str, Any]] = None, dynamic_shapes=None, **options):
    """Compiles a module for inference. inputs: example arguments (a tensor, or a sequence); dynamic_shapes: as torch.export.export takes it, so that
    one build serves all sizes. A module or an ExportedProgram becomes a Program; what torch.jit.script or torch.jit.trace made becomes a ScriptModule.
    Options: see README.md. Raises OptionError, StrictError, or what torch.export raises."""
    parsed = parse_options(options)
    if not isinstance(inputs, (torch.Tensor, list, tuple)):
        raise TypeError(f"inputs must be a tensor, or a tuple or list of the example arguments, not {type(inputs).__name__}")
    args = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if is_script(model):
        return compile_script(model, args, kwargs, dynamic_shapes, parsed)
    with torch.no_grad():
        exported = export(model, args, kwargs, dynamic_shapes)
        program = _compile_exported(exported, dynamic_shapes, parsed, type(model).__name__)
        program.remember_example(args, kwargs or {}, _call_shapes(model, args, kwargs or {}, dynamic_shapes))
        return program


def export(model, args, kwargs, dynamic_shapes) -> torch.export.ExportedProgram:
    """The program in the operators that the engine takes."""
    with _compat.TRACING:
        exported = model if isinstance(model, torch.export.ExportedProgram) else torch.export.export(model, args, kwargs, dynamic_shapes=dynamic_shapes)
        return exported.run_decompositions(decompositions.for_export())


def load(path) -> "Program":
    """Loads what Program.save wrote; the model's source is not needed."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no program at {os.fspath(path)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"'{os.fspath(path)}' is no program that Program.save wrote, or a damaged one; an engine file is loaded with tuyere.Engine.load")
    extra = {_REPORT_FILE: ""}
    exported = torch.export.load(path, extra_files=extra)
    report = Report.from_dict(json.loads(extra[_REPORT_FILE])) if extra[_REPORT_FILE] else Report()
    module = exported.module()
    for number, carrier in enumerate(_carriers(module)):
        weights = _weights_path(path, number)
        if os.path.exists(weights):
            Engine.from_carrier(carrier, weights=weights, may_be_absent=True)
    return Program(module, report)


def _weights_path(path, number: int) -> str:
    """Where a saved program keeps the weights of its engine `number` when they are not in the engine."""
    return f"{os.fspath(path)}.{number}.weights"


class Program(torch.nn.Module):
    """A compiled module. Call it as the original. engines: the engine files inside, in order."""

    def __init__(self, module, report: Report):
        super().__init__()
        self.module = module
        self._report = report
        self._example: Optional[Tuple[Any, Dict[str, Any], Any]] = None
        self._built: Dict[bytes, Engine] = {}  # by id
        self._watches: List[Tuple[Watch, List[torch.Tensor]]] = []  # with the parameters that it looks at

    def remember_example(self, args, kwargs, dynamic_shapes):
        """What export() needs; dynamic_shapes: as of a forward(*args, **kwargs)."""
        self._example = (args, kwargs, dynamic_shapes)

    def keep(self, lowered, follow: bool):
        """Takes over the engines of a graph. follow: they share parameters with the module, whose changes they see at the next call."""
        for segment in lowered.segments:
            self._built[_id_of(segment.carrier)] = segment.engine
            if not follow:
                continue
            tensors = [lowered.constants[lowered.read.params[n]][1] for n in segment.params]
            self._watches.append((Watch(segment.engine, segment.params, tensors), tensors))

    def forward(self, *args, **kwargs):
        for watch, tensors in self._watches:
            watch.refit_if_changed(tensors)
        return self.module(*args, **kwargs)

    def load_state_dict(self, state_dict, *args, **kwargs):
        if state_dict and not set(state_dict) & set(self.state_dict()):
            raise RuntimeError(
                "a Program has its weights in its engines; for those of another state of the module call "
                "engine.refit({name: state[name] for name in engine.refittable()}) for each of program.engines, or compile with weights='shared'"
            )
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _apply(self, fn, recurse=True):
        """module.to(device) and the like leave engines where they are: on the host."""
        return super()._apply(lambda t: t if _is_carrier(t) else fn(t), recurse)

    def report(self) -> Report:
        return self._report

    @property
    def engines(self) -> List[Engine]:
        return [self._built.get(_id_of(c)) or Engine.from_carrier(c, may_be_absent=True) for c in _carriers(self.module)]

    def export(self) -> torch.export.ExportedProgram:
        """The program for torch.export.save, or for AOTInductor; the engines are constants of it."""
        if self._example is None:
            raise RuntimeError("this Program was loaded from a file: use torch.export.load on that file")
        args, kwargs, dynamic_shapes = self._example
        with torch.no_grad(), _compat.TRACING:
            return torch.export.export(self.module, args, kwargs, dynamic_shapes=dynamic_shapes)

    def save(self, path) -> None:
        """Writes a .pt2 archive (torch.export.save) with the engines as constants, and <path>.<number>.weights for engines whose weights are separate or
        shared."""
        if self._example is None:
            raise RuntimeError("this Program was loaded from a file: copy that file instead of saving it again")
        torch.export.save(self.export(), path, extra_files={_REPORT_FILE: json.dumps(self._report.to_dict())})
        for number, engine in enumerate(self.engines):
            if engine.meta.get("weights"):
                engine.save_weights(_weights_path(path, number))


class _Call(torch.nn.Module):
    """Flattens the arguments, runs the lowered graph, rebuilds the outputs."""

    def __init__(self, graph, in_spec, out_spec, outputs, tensors):
        """tensors: which of the flat arguments are tensors."""
        super().__init__()
        self._tensors = tensors
        self.lowered = graph  # not "graph": that name is a property of every GraphModule that torch.export makes of this
        self._in_spec, self._out_spec, self._outputs = in_spec, out_spec, outputs

    def forward(self, *args, **kwargs):
        flat, spec = pytree.tree_flatten((args, kwargs))
        if spec != self._in_spec:
            raise ValueError(f"the program was compiled for arguments of the structure {self._in_spec}, got {spec}")
        for number, (value, tensor) in enumerate(zip(flat, self._tensors, strict=True)):
            if tensor and not isinstance(value, torch.Tensor):
                raise TypeError(f"argument {number} of the program must be a tensor, not {type(value).__name__}")
            if tensor:
                check_memory(value, f"argument {number} of the program")
        results = iter(self.lowered(*flat))
        return pytree.tree_unflatten([next(results) if kind is None else kind.value for kind in self._outputs], self._out_spec)


class _Constant:
    def __init__(self, value):
        self.value = value


def _compile_exported(exported, dynamic_shapes, options: Options, name: str) -> Program:
    placeholders = {n.name: n for n in exported.graph_module.graph.nodes if n.op == "placeholder"}
    constants, attributes = constants_of(exported)
    mutations, outputs = _outputs(exported, placeholders)
    settings = LowerSettings(keep_constants=False, sizes=True, unique_ids=False, attributes=attributes, mutations=mutations)
    settings.size_names = _size_names(exported, placeholders, dynamic_shapes)
    lowered = lower(exported.graph_module, constants, options, settings, name)
    inputs = [spec.arg for spec in exported.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    tensors = [isinstance(arg, TensorArgument) for arg in inputs]
    call = _Call(lowered.graph, exported.call_spec.in_spec, exported.call_spec.out_spec, outputs, tensors)
    program = Program(call, lowered.report)
    program.keep(lowered, options.weights == "shared")
    return program


def _call_shapes(model, args, kwargs, dynamic_shapes):
    """dynamic_shapes of the model's forward as those of a forward(*args, **kwargs)."""
    if dynamic_shapes is None or isinstance(model, torch.export.ExportedProgram):
        return None
    if not isinstance(dynamic_shapes, dict):
        return {"args": tuple(dynamic_shapes)}
    positional: List[Any] = []
    named: Dict[str, Any] = {}
    parameters = inspect.signature(model.forward).parameters
    for name, parameter in parameters.items():
        shapes = dynamic_shapes.get(name)
        if parameter.kind == inspect.Parameter.VAR_POSITIONAL:
            positional += shapes or [None] * (len(args) - len(positional))
        elif parameter.kind == inspect.Parameter.VAR_KEYWORD:
            named.update(shapes or {})
        elif name in kwargs:
            named[name] = shapes
        elif len(positional) < len(args):
            positional.append(shapes)
    return {**({"args": tuple(positional)} if args else {}), **({"kwargs": {n: named.get(n) for n in kwargs}} if kwargs else {})}


def constants_of(exported):
    """placeholder -> (name, tensor, is_param): of what may be built in, and of what the program writes."""
    placeholders = {n.name: n for n in exported.graph_module.graph.nodes if n.op == "placeholder"}
    mutated = {s.target for s in exported.graph_signature.output_specs if s.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)}
    constants: Dict[Any, Any] = {}
    attributes: Dict[Any, Any] = {}
    for spec in exported.graph_signature.input_specs:
        tensor = _constant_of(exported, spec)
        if isinstance(tensor, torch.Tensor):
            entry = (spec.target, tensor, spec.kind != InputKind.CONSTANT_TENSOR)
            (attributes if spec.target in mutated else constants)[placeholders[spec.arg.name]] = entry
    return constants, attributes


def _size_names(exported, placeholders, dynamic_shapes):
    """Names of torch.export.Dim -> (placeholder, dim), for arguments that are tensors."""
    inputs = exported.graph_signature.user_inputs
    by_input = dynamic_shapes.items() if isinstance(dynamic_shapes, dict) else zip(inputs, dynamic_shapes or ())
    names = {}
    for name, spec in by_input:
        dims = spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, (list, tuple)) else ()
        for dim, size in dims:
            if name in placeholders and isinstance(dim, int) and hasattr(size, "__name__"):
                names.setdefault(size.__name__, (placeholders[name], dim))
    return names


def _constant_of(exported, spec):
    if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
        found = exported.state_dict.get(spec.target)
        return exported.constants.get(spec.target) if found is None else found
    return exported.constants.get(spec.target) if spec.kind == InputKind.CONSTANT_TENSOR else None


def _outputs(exported, placeholders):
    """(output position -> placeholder that it is copied into, what each user output is: None for a result, _Constant otherwise)."""
    by_target = {s.target: placeholders[s.arg.name] for s in exported.graph_signature.input_specs if s.target is not None}
    mutations, outputs = {}, []
    for position, spec in enumerate(exported.graph_signature.output_specs):
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
            mutations[position] = by_target[spec.target]
        elif spec.kind == OutputKind.USER_INPUT_MUTATION:
            mutations[position] = placeholders[spec.target]
        elif spec.kind == OutputKind.USER_OUTPUT:
            outputs.append(_Constant(spec.arg.value) if hasattr(spec.arg, "value") else None)
        else:
            raise NotImplementedError(f"tuyere.compile: the exported program has an output of kind {spec.kind.name}; export the module for inference")
    return mutations, outputs


def _is_carrier(tensor) -> bool:
    return tensor.dtype == torch.uint8 and tensor.device.type == "cpu" and tensor.dim() == 1 and bytes(tensor[:15].numpy()) == _MAGIC


def _id_of(carrier) -> bytes:
    return bytes(carrier[16:32].numpy())


def _carriers(module):
    """Engine tensors of a module, in the order of the graph."""
    found = []
    for part in module.modules():
        if not isinstance(part, torch.fx.GraphModule):
            continue
        for node in part.graph.nodes:
            if node.op == "get_attr":
                tensor = part
                for piece in node.target.split("."):
                    tensor = getattr(tensor, piece)
                if isinstance(tensor, torch.Tensor) and _is_carrier(tensor):
                    found.append(tensor)
    return found
