# SPDX-License-Identifier: Apache-2.0
"""Ahead of time: nn.Module -> torch.export -> Program, an nn.Module whose convertible parts are engines."""

import inspect
import json
import operator
import os
import tempfile
import zipfile
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from . import _compat, decompositions
from .direct import FlatCall, direct_call
from .engine import AbsentEngine, Engine, FirstCalls, carrier_of, check_memory, make_unique, unload_with
from .engine_file import CARRIER_HEADER
from .lower import LowerSettings, lower
from .options import Options, parse_options
from .report import Report
from .torchscript import compile_script, is_script
from .watch import OwnerWatch, Place

_REPORT_FILE, _WEIGHTS_FILE = "tuyere_report.json", "tuyere_weights.json"
_UNKNOWN = object()
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
        program.follow(model, keep=parsed.weights == "shared")
        program.remember_example(args, kwargs or {}, _call_shapes(model, args, kwargs or {}, dynamic_shapes))
        return program


def export(model, args, kwargs, dynamic_shapes) -> torch.export.ExportedProgram:
    """The program in the operators that the engine takes."""
    with _compat.exporting():
        exported = model if isinstance(model, torch.export.ExportedProgram) else torch.export.export(model, args, kwargs, dynamic_shapes=dynamic_shapes)
        return exported.run_decompositions(decompositions.for_export())


def load(path) -> "Program":
    """Loads what Program.save wrote; the model's source is not needed."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no program at {os.fspath(path)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"'{os.fspath(path)}' is no program that Program.save wrote, or a damaged one; an engine file is loaded with tuyere.Engine.load")
    extra = {_REPORT_FILE: "", _WEIGHTS_FILE: ""}
    exported = torch.export.load(path, extra_files=extra)
    report = Report.from_dict(json.loads(extra[_REPORT_FILE])) if extra[_REPORT_FILE] else Report()
    module = exported.module(check_guards=not _is_one_engine(exported))  # an engine looks at its inputs itself, and says more
    engines = []
    for number, carrier in enumerate(_carriers(module)):
        make_unique(carrier)
        weights = _weights_path(path, number)
        if os.path.exists(weights):
            engines.append(Engine.from_carrier(carrier, weights=weights, may_be_absent=True))
    program = Program(module, report)
    program.keep(engines)
    program.remember_weights(**json.loads(extra[_WEIGHTS_FILE] or '{"outside": {}, "optional": []}'))
    return program


def _is_one_engine(exported) -> bool:
    """Whether a program is one engine on tensors and nothing else."""
    calls = [n.target for n in exported.graph.nodes if n.op == "call_function"]
    tensors = all(isinstance(spec.arg, TensorArgument) for spec in exported.graph_signature.input_specs)
    return calls.count(torch.ops.tuyere.execute.default) == 1 and set(calls) <= {torch.ops.tuyere.execute.default, operator.getitem} and tensors


def _weights_path(path, number: int) -> str:
    """Where a saved program keeps the weights of its engine `number` when they are not in the engine."""
    return f"{os.fspath(path)}.{number}.weights"


class Program(torch.nn.Module):
    """A compiled module. Call it as the original. engines: the engine files inside, in order. It uses changed weights of the original module at the next
    call, without keeping that module alive; load_state_dict gives it weights of its own."""

    def __init__(self, module, report: Report):
        super().__init__()
        self.module = module
        self._report = report
        self._example: Optional[Tuple[Any, Dict[str, Any], Any]] = None
        self._built: Dict[bytes, Engine] = {}  # by id
        self._outside: Dict[str, str] = {}  # weights that PyTorch reads: name -> attribute of self.module
        self._optional: List[str] = []  # weights that a state_dict does not have: buffers that are not persistent
        self._watches: List[OwnerWatch] = []
        self._flat_call: Any = _UNKNOWN  # found at the first call: engines of a loaded program may be for another machine
        self._first_calls = FirstCalls([])

    def remember_example(self, args, kwargs, dynamic_shapes):
        """What export() needs; dynamic_shapes: as of a forward(*args, **kwargs)."""
        self._example = (args, kwargs, dynamic_shapes)

    def remember_weights(self, outside: Dict[str, str], optional: Sequence[str]):
        """outside: attributes of the weights that PyTorch reads. optional: names of weights that a state_dict lacks."""
        self._outside, self._optional = dict(outside), list(optional)

    def keep(self, engines: Sequence[Engine]):
        """Takes over engines of its graph."""
        for engine in engines:
            self._built[_id_of(engine.carrier)] = engine
        unload_with(self, [e.carrier for e in engines if e.carrier is not None and _holds_weights(e)])

    def follow(self, model, keep: bool):
        """Changes of the parameters of `model`, a module or an ExportedProgram, are seen at the next call, while it lives. keep: as long as this does."""
        self._followed = (model,) if keep else ()  # a tuple: a module would become a part of this one
        for engine in self._engines_here():
            self._follow(model, engine.refittable(), engine.refit)
        self._follow(model, self._outside, self._set_outside)

    def _follow(self, model, names, apply):
        places = [(name, place) for name in names if (place := Place.of(model, name)) is not None]
        if places:
            self._watches.append(OwnerWatch(apply, places))

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """New values for the weights, by their names in the original module, used from the next call on; the original's are followed no more. What the
        program does not need is ignored. strict: all that it needs must be there. assign: no difference, engines have forms of their own."""
        engines = self._engines_here()
        needed = {name for engine in engines for name in engine.refittable()} | self._outside.keys()
        missing = sorted(needed - state_dict.keys() - set(self._optional))
        if strict and missing:
            raise RuntimeError(f"the state_dict lacks weights that the program needs: {', '.join(missing)}; strict=False leaves them as they are")
        self._watches.clear()
        for engine in engines:
            values = {name: state_dict[name] for name in engine.refittable() if name in state_dict}
            if values:
                engine.refit(values)
        self._set_outside({name: state_dict[name].clone() for name in self._outside if name in state_dict})
        return _compat.IncompatibleKeys(missing, [])

    def _set_outside(self, weights):
        for name, tensor in weights.items():
            owner, _, key = self._outside[name].rpartition(".")
            buffers = self.module.get_submodule(owner)._buffers
            if buffers[key].data_ptr() != tensor.data_ptr():  # else it was written in place
                buffers[key] = tensor.detach().to(buffers[key].device)

    def _engines_here(self) -> List[Engine]:
        return [e for e in self.engines if not isinstance(e, AbsentEngine)]

    def forward(self, *args, **kwargs):
        for watch in self._watches:
            watch.refit_if_changed()
        call = self._flat_call
        if call is _UNKNOWN:
            call = self._flat_call = self._find_flat_call()
            self._first_calls = FirstCalls(self.engines)
        if self._first_calls.left:
            self._first_calls.count()
        if call is not None:
            flat = call.flat(args, kwargs)
            results = None if flat is None else call(flat)
            if results is not None:
                return results
        return self.module(*args, **kwargs)

    def _find_flat_call(self) -> Optional[FlatCall]:
        graph, specs = (self.module.lowered, self.module.specs) if isinstance(self.module, _Call) else (self.module, _compat.pytree_specs(self.module))
        call = specs and direct_call(graph, {id(c): e for c, e in zip(_carriers(graph), self.engines)})
        return FlatCall.of(call, *specs) if call else None

    def _apply(self, fn, recurse=True):
        """module.to(device) and the like leave engines where they are: on the host."""
        return super()._apply(lambda t: t if _is_carrier(t) else fn(t), recurse)

    def report(self) -> Report:
        return self._report

    @property
    def engines(self) -> List[Engine]:
        for carrier in _carriers(self.module):
            if _id_of(carrier) not in self._built:
                self.keep([Engine.from_carrier(carrier, may_be_absent=True)])
        return [self._built[_id_of(c)] for c in _carriers(self.module)]

    def export(self) -> torch.export.ExportedProgram:
        """The program for torch.export.save, or for AOTInductor; the engines are constants of it."""
        if self._example is None:
            raise RuntimeError("this Program was loaded from a file: use torch.export.load on that file")
        args, kwargs, dynamic_shapes = self._example
        self._renew_carriers()
        with torch.no_grad(), _compat.exporting():
            return torch.export.export(self.module, args, kwargs, dynamic_shapes=dynamic_shapes)

    def save(self, path) -> None:
        """Writes a .pt2 archive (torch.export.save) with the engines as constants, and <path>.<number>.weights for engines whose weights are separate or
        shared."""
        if self._example is None:
            raise RuntimeError("this Program was loaded from a file: copy that file instead of saving it again")
        extra = {_REPORT_FILE: json.dumps(self._report.to_dict()), _WEIGHTS_FILE: json.dumps({"outside": self._outside, "optional": self._optional})}
        torch.export.save(self.export(), path, extra_files=extra)
        for number, engine in enumerate(self.engines):
            if engine.meta.get("weights"):
                engine.save_weights(_weights_path(path, number))

    def _renew_carriers(self):
        """Weights that were refitted become those of the carriers."""
        for part in self.module.modules():
            for name, tensor in list(part._buffers.items()):
                engine = self._built.get(_id_of(tensor)) if _is_carrier(tensor) else None
                if engine is None or not engine.refitted or not _holds_weights(engine):
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    engine.save(os.path.join(folder, "engine"))
                    with open(os.path.join(folder, "engine"), "rb") as file:
                        part._buffers[name] = carrier_of(file.read(), bytes(tensor[:CARRIER_HEADER].numpy()))


class _Call(torch.nn.Module):
    """Flattens the arguments, runs the lowered graph, rebuilds the outputs."""

    def __init__(self, graph, in_spec, out_spec, outputs, tensors):
        """tensors: which of the flat arguments are tensors."""
        super().__init__()
        self._tensors = tensors
        self.lowered = graph  # not "graph": that name is a property of every GraphModule that torch.export makes of this
        self._in_spec, self._out_spec, self._outputs = in_spec, out_spec, outputs

    @property
    def specs(self):
        """Of arguments and results; None when some results are constants."""
        return (self._in_spec, self._out_spec) if all(kind is None for kind in self._outputs) else None

    def forward(self, *args, **kwargs):
        names = self._in_spec.children()[1].context
        if kwargs and kwargs.keys() == set(names):
            kwargs = {name: kwargs[name] for name in names}
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
    settings = LowerSettings(keep_constants=False, sizes=True, attributes=attributes, mutations=mutations)
    settings.size_names = _size_names(exported, placeholders, dynamic_shapes)
    lowered = lower(exported.graph_module, constants, options, settings, name)
    inputs = [spec.arg for spec in exported.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    tensors = [isinstance(arg, TensorArgument) for arg in inputs]
    call = _Call(lowered.graph, exported.call_spec.in_spec, exported.call_spec.out_spec, outputs, tensors)
    program = Program(call, lowered.report)
    program.keep([s.engine for s in lowered.segments])
    optional = [s.target for s in exported.graph_signature.input_specs if s.kind == InputKind.BUFFER and not s.persistent]
    program.remember_weights({name: f"lowered.{attribute}" for name, attribute in lowered.attributes.items()}, optional)
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


def _holds_weights(engine) -> bool:
    return engine.meta.get("weights", "engine") == "engine"


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
