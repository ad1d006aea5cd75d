# SPDX-License-Identifier: Apache-2.0
"""tuyere.explain(): what tuyere.compile or torch.compile would do to a model, without building anything."""

import collections
import dataclasses
from typing import Any, Dict, List, Optional, Tuple

import torch

from . import _compat, _tuyere, aot
from .backend import Session, boxed, compile_with
from .build import target_of
from .lower import Analysis, analyze, device_of, partition_options
from .options import Options, parse_options
from .read_fx import op_name
from .torchscript import analyze_script, is_script, script_name


@dataclasses.dataclass
class Segment:
    """One engine that would be built."""

    graph: str  # the captured graph that it is a part of
    num_native: int
    num_hosted: int
    num_inputs: int
    num_outputs: int
    ops: Dict[str, int]  # op -> how many nodes


@dataclasses.dataclass
class Blocker:
    """An op that is not native. engines: how many there would be if it were; engines_together: if all blockers were."""

    op: str
    count: int
    modules: List[str]
    reasons: List[str]
    engines: int


@dataclasses.dataclass
class Explanation:
    """The answer of explain(). fallbacks: (op, module path, file:line, reason) per node that would not be native. capture: how the model was read, and why
    not in a better way. engines_together: how many engines there would be if no blocker were left."""

    name: str
    target: str
    capture: str
    num_graphs: int = 0
    graph_breaks: List[str] = dataclasses.field(default_factory=list)
    num_nodes: int = 0
    num_native: int = 0
    num_hosted: int = 0
    num_outside: int = 0
    segments: List[Segment] = dataclasses.field(default_factory=list)
    fallbacks: List[Tuple[str, str, str, str]] = dataclasses.field(default_factory=list)
    blockers: List[Blocker] = dataclasses.field(default_factory=list)
    engines_together: int = 0

    @property
    def num_engines(self) -> int:
        return len(self.segments)

    @property
    def one_engine(self) -> bool:
        """Whether the whole model becomes one engine that needs nothing of PyTorch."""
        return self.num_engines == 1 and self.num_native == self.num_nodes and self.num_graphs == 1

    @property
    def coverage(self) -> float:
        """The share of nodes that is native."""
        return self.num_native / self.num_nodes if self.num_nodes else 1.0

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {_count(self.num_engines, 'engine')} for {self.target}; {self.num_native} of {self.num_nodes} nodes native ({self.coverage:.0%}), "
            f"{self.num_hosted} hosted, {self.num_outside} outside; {_count(self.num_graphs, 'graph')} by {self.capture}"
        ]
        lines += [f"  graph break: {reason}" for reason in self.graph_breaks]
        for number, segment in enumerate(self.segments):
            common = ", ".join(f"{count}x {op}" for op, count in collections.Counter(segment.ops).most_common(4))
            hosted = f" and {segment.num_hosted} hosted" if segment.num_hosted else ""
            lines.append(
                f"  engine {number} (of {segment.graph}): {segment.num_native} native{hosted} nodes, "
                f"{_count(segment.num_inputs, 'input')}, {_count(segment.num_outputs, 'output')}: {common}"
            )
        for op, module, where, reason in self.fallbacks:
            lines.append(f"  in PyTorch: {op} ({', '.join(t for t in (module, where) if t)}): {reason}")
        return "\n".join(lines + self._advice())

    def _advice(self) -> List[str]:
        if self.one_engine:
            return ["  the whole model is one engine"]
        lines = []
        for blocker in self.blockers:
            places = ", ".join(blocker.modules[:3]) + (" ..." if len(blocker.modules) > 3 else "")
            lines.append(f"  with {blocker.op} ({blocker.count}x, {places or 'top level'}) native: {_count(blocker.engines, 'engine')}")
        if len(self.blockers) > 1 or self.num_graphs > 1:
            lines.append(
                f"  with all of these native: {_count(self.engines_together, 'engine')}"
                + (f", one at least per graph of {self.num_graphs}" * (self.num_graphs > 1))
            )
        return lines


def _count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"


def explain(model, inputs, *, kwargs: Optional[Dict[str, Any]] = None, dynamic_shapes=None, **options) -> Explanation:
    """What would become of `model` with these options: engines, coverage, the reason for everything that stays in PyTorch, and what would make it one engine.
    Print it, or read its fields. Builds nothing. A module that torch.export cannot read is run once, as torch.compile would run it."""
    parsed = dataclasses.replace(parse_options(options), strict=False)
    args = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if is_script(model):
        script = analyze_script(model, args, kwargs, dynamic_shapes, parsed)
        return _explanation(script_name(model), "TorchScript", script.analyses, parsed, script.fallbacks)
    name = type(model).__name__
    with torch.no_grad():
        try:
            exported = aot.export(model, args, kwargs, dynamic_shapes)
        except Exception as error:  # whatever torch.export says, torch.compile may still take the model in pieces
            if isinstance(model, torch.export.ExportedProgram) or dynamic_shapes is not None:
                raise
            capture = f"torch.compile, as torch.export fails: {type(error).__name__}: {_first_line(error)}"
            analyses, breaks = _through_dynamo(model, args, kwargs or {}, parsed)
            out = _explanation(name, capture, analyses, parsed, [])
            out.graph_breaks = breaks
            return out
        analysis = analyze(exported.graph_module, aot.constants_of(exported)[0], parsed, name)
    return _explanation(name, "torch.export", [analysis], parsed, [])


def _first_line(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:160]


class _Collector(Session):
    """Keeps the analysis of a graph and runs the graph itself."""

    analyses: List[Analysis]

    def compile(self, gm, constants, take=None):
        with _compat.unset_fake_temporarily():
            self.analyses.append(analyze(gm, constants, self.options, f"graph {len(self.analyses)}"))
        return boxed(lambda args: gm(*args))


def _through_dynamo(model, args, kwargs, options):
    analyses: List[Analysis] = []
    breaks: List[str] = []

    def collect(gm, example_inputs):
        reason = getattr(gm, "compile_subgraph_reason", None)
        if reason is not None and reason.graph_break:
            breaks.append(_first_line(reason.reason))
        session = _Collector(gm, list(example_inputs), options)
        session.analyses = analyses
        return compile_with(session, gm, example_inputs)

    torch.compile(model, backend=collect)(*args, **kwargs)
    return analyses, breaks


def _explanation(name, capture, analyses: List[Analysis], options: Options, fallbacks) -> Explanation:
    target = options.target or (target_of(device_of(analyses[0].gm), options) if analyses else "")
    out = Explanation(name, target, capture, num_graphs=len(analyses))
    for analysis in analyses:
        _add(out, analysis)
    out.num_nodes += len(fallbacks)
    out.num_outside += len(fallbacks)
    out.fallbacks += fallbacks
    _add_blockers(out, analyses, options)
    return out


def _add(out: Explanation, analysis: Analysis):
    placements = [place.placement for place in analysis.partition.nodes]
    out.num_nodes += len(placements)
    out.num_native += placements.count("native")
    out.num_hosted += placements.count("hosted")
    out.num_outside += placements.count("outside")
    out.fallbacks += analysis.fallbacks()
    for segment in analysis.partition.segments:
        kinds = [placements[n] for n in segment.nodes]
        ops = collections.Counter(op_name(analysis.read.nodes[n]) for n in segment.nodes)
        sizes = (kinds.count("native"), kinds.count("hosted"), len(segment.inputs), len(segment.outputs))
        out.segments.append(Segment(analysis.name, *sizes, dict(ops)))


def _add_blockers(out: Explanation, analyses: List[Analysis], options: Options):
    """Counts engines again with an op taken for native: alone, and with all the others."""
    grouped = collections.defaultdict(list)
    for op, module, _, reason in out.fallbacks:
        grouped[op].append((module, reason))
    for op, found in grouped.items():
        modules, reasons = (sorted({f[k] for f in found if f[k]}) for k in (0, 1))
        out.blockers.append(Blocker(op, len(found), modules, reasons, _engines(analyses, options, {op})))
    out.blockers.sort(key=lambda b: (b.engines, -b.count))
    out.engines_together = _engines(analyses, options, set(grouped))


def _engines(analyses, options: Options, assume) -> int:
    wanted = dataclasses.replace(options, run_in_torch=[op for op in options.run_in_torch if not any(a == op or a.startswith(op + ".") for a in assume)])
    parts = [_tuyere.partition(a.read.source, partition_options(wanted), assume) for a in analyses]
    return sum(len(p.segments) for p in parts)
