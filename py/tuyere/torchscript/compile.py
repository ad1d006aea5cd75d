# SPDX-License-Identifier: Apache-2.0
"""compile_script(): a scripted or traced module -> a ScriptModule whose convertible parts are engines."""

import copy
import dataclasses
import time
from typing import Any, Dict, List, Optional

import torch

from .. import _compat
from ..lower import Analysis, LowerSettings, analyze, build_analysis, finish_report, refuse_fallbacks
from ..options import OptionError, Options
from ..report import Report
from .emit import Replacer
from .input_types import Formal, InputTypes
from .interpret import Interpreter, overload
from .regions import Finder
from .specialize import specialize
from .trace import module_path, source_place, trace


def is_script(model) -> bool:
    return isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction))


@dataclasses.dataclass
class ScriptAnalysis:
    """What would happen to a TorchScript module. parts: the regions with an engine in them. fallbacks: what runs in TorchScript outside of the parts."""

    module: torch.jit.ScriptModule
    types: InputTypes
    parts: List[Any]  # (Region, Traced, Analysis)
    fallbacks: List[Any]

    @property
    def analyses(self) -> List[Analysis]:
        return [analysis for _, _, analysis in self.parts]

    def all_fallbacks(self):
        return [f for analysis in self.analyses for f in analysis.fallbacks()] + self.fallbacks


def compile_script(model, args, kwargs: Optional[Dict[str, Any]], dynamic_shapes, options: Options) -> torch.jit.ScriptModule:
    """The compiled module; its reports are tuyere.reports()[-1] and .report(). The given module is not changed."""
    if options.weights != "engine":
        raise OptionError(f"weights={options.weights!r} is not available for TorchScript: its weights live in the engines")
    started = time.perf_counter()
    analysis = analyze_script(model, args, kwargs, dynamic_shapes, options)
    if options.strict:
        refuse_fallbacks(analysis.all_fallbacks())
    report = Report(name=script_name(model), precision=options.precision)
    graph = analysis.module.graph
    replacer = Replacer(graph)
    for region, traced, part in analysis.parts:
        lowered = build_analysis(part, options, LowerSettings(keep_constants=False, unique_ids=False, mutations=traced.mutations), report)
        if lowered.segments:
            replacer.replace(region, traced, lowered.graph)
    _insert_assertions(graph, analysis.types)
    _compat.script_dce(graph)
    graph.lint()
    report.num_nodes += len(analysis.fallbacks)
    report.num_outside += len(analysis.fallbacks)
    report.fallbacks += analysis.fallbacks
    finish_report(report, options, started)
    return analysis.module


def script_name(model) -> str:
    """The name of a module's class or of a function."""
    return str(getattr(model, "original_name", None) or getattr(model, "name", "graph"))


def analyze_script(model, args, kwargs, dynamic_shapes, options: Options) -> ScriptAnalysis:
    """Everything before building."""
    with _compat.TRACING, torch.no_grad():
        return _analyze(model, args, kwargs, dynamic_shapes, options)


def _analyze(model, args, kwargs, dynamic_shapes, options):
    module = _frozen(model)
    graph = module.graph
    formals, args = _arguments(module, args, kwargs or {})
    types = InputTypes(formals, args, dynamic_shapes)
    known = specialize(graph, lambda g: Interpreter(g, types.mode, module).run(types.known))
    finder = Finder(graph, known)
    parts: List[Any] = []
    fallbacks: List[Any] = []
    for region in finder.find():
        try:
            traced = trace(region, known, types.carriers(list(graph.inputs())[1:]))
            analysis = analyze(traced.gm, traced.constants, options, script_name(model))
        except Exception as error:
            fallbacks += [_fallback(node, f"capture failed: {str(error).splitlines()[0]}") for node in region.nodes]
            continue
        if analysis.partition.segments:
            parts.append((region, traced, analysis))
        else:
            fallbacks += analysis.fallbacks()
    fallbacks += [_fallback(node, reason) for node, reason in finder.reasons.items()]
    return ScriptAnalysis(module, types, parts, fallbacks)


def _fallback(node, reason):
    return (overload(node).name(), module_path(node), source_place(node), reason)


def _frozen(model):
    """A copy with its calls inlined and its parameters as constants; attributes that it writes stay."""
    if isinstance(model, torch.jit.ScriptFunction):
        model = _compat.module_of_function(model)
    if getattr(model, "training", False):
        raise ValueError("tuyere.compile takes TorchScript modules for inference: call .eval() on the module first")
    frozen = torch.jit.freeze(model, optimize_numerics=False)
    if frozen.graph.findNode("prim::GetAttr") is None:
        return frozen
    return torch.jit.freeze(copy.deepcopy(model), optimize_numerics=False)  # what it writes must not be the given module's


def _arguments(module, args, kwargs):
    """The formal parameters and their example values, defaults included."""
    schema = module.forward.schema
    formals, values, rest = [], list(args), dict(kwargs)
    for position, formal in enumerate(schema.arguments[1:]):
        formals.append(Formal(formal.name, str(formal.type.annotation_str)))
        if position < len(args):
            continue
        if formal.name in rest:
            values.append(rest.pop(formal.name))
        elif formal.has_default_value():
            values.append(formal.default_value)
        else:
            raise ValueError(f"inputs has no value for the argument {formal.name!r} of the module")
    if rest or len(values) > len(formals):
        raise ValueError(f"the module takes {len(formals)} arguments: {', '.join(f.name for f in formals)}")
    return formals, values


def _insert_assertions(graph, types: InputTypes):
    check = torch.jit.CompilationUnit(types.assertions()).check.graph
    first = next(iter(graph.nodes()))
    with graph.insert_point_guard(first):
        graph.insertGraph(check, list(graph.inputs())[1:])
