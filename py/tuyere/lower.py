# SPDX-License-Identifier: Apache-2.0
"""lower(): one ATen graph -> the same graph with its convertible parts as calls of tuyere::execute. Used by torch.compile and torch.export alike."""

import dataclasses
import operator
import time
import warnings
from typing import Any, Dict, List, Tuple

import torch

from . import _tuyere
from .build import build_engine, target_of
from .carriers import carry_sizes
from .devices import make_on_device
from .draws import draw_in_memory_order, draws_random_numbers
from .engine import Engine
from .fused_attention import in_pytorch
from .options import Options
from .output_views import view_in
from .ratios import make_ratios_tensors
from .read_fx import ReadGraph, read_fx
from .report import FallbackWarning, Report, add_report
from .sizes import SizeEmitter, profiles_of


class StrictError(RuntimeError):
    """strict=True, and something would run in PyTorch. The text names every op with its reason."""


@dataclasses.dataclass
class BuiltSegment:
    """One engine of a lowered graph."""

    index: int
    carrier: torch.Tensor
    engine: Engine
    inputs: List[Any]  # FX nodes of the original graph, in engine order
    outputs: List[int]  # values of the source graph
    params: List[str]  # constants that the engine can refit
    nodes: List[Any]  # FX nodes that it runs


@dataclasses.dataclass
class Lowered:
    graph: torch.fx.GraphModule
    segments: List[BuiltSegment]
    report: Report
    read: ReadGraph
    constants: Dict[Any, Any]
    attributes: Dict[str, str]  # parameters and buffers that PyTorch reads: name -> attribute of graph


@dataclasses.dataclass
class LowerSettings:
    """How the caller wants its graph: keep_constants: constant placeholders stay placeholders (torch.compile); else they become attributes.
    sizes: emit the output sizes for the fake kernel (torch.export). unique_ids: engines are refitted on their own.
    attributes: placeholders that become attributes without being built in. mutations: output position -> placeholder it is written back to.
    size_names: what the caller calls some sizes -> (placeholder, dim). views: output position -> the view that is returned of it."""

    keep_constants: bool = True
    sizes: bool = False
    unique_ids: bool = True
    attributes: Dict[Any, Any] = dataclasses.field(default_factory=dict)
    mutations: Dict[int, Any] = dataclasses.field(default_factory=dict)
    size_names: Dict[str, Any] = dataclasses.field(default_factory=dict)
    views: Dict[int, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Analysis:
    """What would happen to a graph: its nodes, the placement and reason of each, the segments. Nothing is built."""

    name: str
    gm: torch.fx.GraphModule
    constants: Dict[Any, Any]
    read: ReadGraph
    partition: Any

    def fallbacks(self) -> List[Tuple[str, str, str, str]]:
        """(op, module path, file:line, reason) of the nodes that are not native."""
        placed = zip(self.read.nodes, self.partition.nodes)
        return [_fallback(node, place.reason) for node, place in placed if place.placement != "native"]


def analyze(gm: torch.fx.GraphModule, constants: Dict[torch.fx.Node, Any], options: Options, name: str = "graph") -> Analysis:
    """Reads and partitions. constants: placeholder -> (name, tensor, is_param)."""
    make_on_device(gm, constants, device_of(gm))
    draw_in_memory_order(gm)
    make_ratios_tensors(gm, device_of(gm))
    carry_sizes(gm, device_of(gm))
    read = read_fx(gm, constants, name)
    _tuyere.dump("source", name, str(read.source))
    partition = _tuyere.partition(read.source, partition_options(options))
    _tuyere.dump("partition", name, _tuyere.partition_table(read.source, partition))
    return Analysis(name, gm, constants, read, partition)


def lower(gm: torch.fx.GraphModule, constants: Dict[torch.fx.Node, Any], options: Options, settings: LowerSettings, name: str = "graph") -> Lowered:
    """Partitions, builds and stitches. constants: placeholder -> (name, tensor, is_param). Raises StrictError, or Error in strict mode."""
    started = time.perf_counter()
    analysis = analyze(gm, constants, options, name)
    if options.strict:
        refuse_fallbacks(analysis.fallbacks())
    report = Report(name=name, precision=options.precision)
    lowered = build_analysis(analysis, options, settings, report)
    finish_report(report, options, started)
    return lowered


def build_analysis(analysis: Analysis, options: Options, settings: LowerSettings, report: Report) -> Lowered:
    """Builds the engines of an analysed graph, stitches the new graph and adds both to the report."""
    gm, read, partition, constants = analysis.gm, analysis.read, analysis.partition, analysis.constants
    target = target_of(device_of(gm), options)
    segments, failures = _build_segments(gm, read, partition, target, options, settings, constants, report)
    _count(report, read, partition, failures)
    stitcher = _Stitcher(gm, read, segments, {**constants, **settings.attributes}, settings)
    stitched = stitcher.run()
    report.target = segments[0].engine.target if segments else report.target or target
    return Lowered(stitched, segments, report, read, constants, stitcher.attributes)


def finish_report(report: Report, options: Options, started: float):
    """Files the report of a compilation that began at `started` and warns about what runs in PyTorch."""
    report.seconds = time.perf_counter() - started
    add_report(report)
    _warn(report, options)


def partition_options(options: Options):
    """What the partitioner takes of the user's options."""
    out = _tuyere.PartitionOptions()
    out.min_block_size = options.min_block_size
    out.run_in_torch = set(options.run_in_torch)
    return out


def device_of(gm) -> torch.device:
    """The CUDA device of a graph, or the CPU."""
    for node in gm.graph.nodes:
        val = node.meta.get("val")
        if isinstance(val, torch.Tensor) and val.device.type == "cuda":
            return val.device
    return torch.device("cpu")


def refuse_fallbacks(fallbacks):
    """Raises StrictError when there is one: (op, module path, file:line, reason) each."""
    lines = [f"{op} ({', '.join(t for t in (module, where) if t)}): {reason}" for op, module, where, reason in fallbacks]
    if lines:
        raise StrictError("strict=True, but these ops would run in PyTorch:\n  " + "\n  ".join(lines))


def _fallback(node, reason):
    from .read_fx import module_path, op_name, source_line

    return (op_name(node), module_path(node), source_line(node), reason)


def _build_segments(gm, read, partition, target, options, settings, constants, report):
    segments, failures = [], {}
    profiles = profiles_of(gm, options.profiles, settings.size_names)
    weights = {name: tensor for name, tensor, is_param in constants.values() if is_param}
    for index, segment in enumerate(partition.segments):
        try:
            segments.append(_build_segment(index, read, partition, segment, target, options, settings, profiles, weights, report))
        except (_tuyere.UserError, _tuyere.InternalError, RuntimeError, ValueError) as error:
            if options.strict:
                raise
            failures[index] = f"the engine could not be built: {error}"
    return segments, failures


def _build_segment(index, read, partition, segment, target, options, settings, profiles, weights, report):
    hosted = [n for n in segment.nodes if partition.nodes[n].placement == "hosted"]
    network = _tuyere.convert(read.source, segment.nodes, segment.inputs, segment.outputs, hosted)
    network.name = f"{report.name}.{len(report.engines)}"
    known = set(_tuyere.symbols_of(network))
    here = [{name: r for name, r in profile.items() if name in known} for profile in profiles]
    profiles = [p for k, p in enumerate(here) if p and p not in here[:k]]
    built = build_engine(network, target, dataclasses.replace(options, profiles=profiles))
    # An engine over shared weights is one of a kind: it must not be found by another module with the same plan.
    engine = built.open(options, settings.unique_ids or options.weights == "shared", weights)
    report.engines.append(built.report)
    inputs = [read.node_of[v] for v in segment.inputs]
    params = [p for p in engine.refittable() if p in read.params]
    return BuiltSegment(index, engine.carrier, engine, inputs, list(segment.outputs), params, [read.nodes[n] for n in segment.nodes])


def _count(report, read, partition, failures):
    report.num_nodes += len(read.nodes)
    for node, placement in zip(read.nodes, partition.nodes):
        failed = failures.get(placement.segment) if placement.segment >= 0 else None
        if failed or placement.placement == "outside":
            report.num_outside += 1
        elif placement.placement == "hosted":
            report.num_hosted += 1
        else:
            report.num_native += 1
        if failed or placement.placement != "native":
            report.fallbacks.append(_fallback(node, failed or placement.reason))


def _warn(report, options):
    unexpected = [f for f in report.fallbacks if f[0] not in options.run_in_torch and "run_in_torch" not in f[3]]
    if not unexpected:
        return
    shown = "; ".join(f"{op} ({module or 'top level'}): {reason}" for op, module, _, reason in unexpected[:3])
    more = f" and {len(unexpected) - 3} more" if len(unexpected) > 3 else ""
    warnings.warn(f"{len(unexpected)} of {report.num_nodes} ops run in PyTorch: {shown}{more}. tuyere.reports()[-1] lists all.", FallbackWarning, stacklevel=2)


class _Stitcher:
    """Builds the new graph: segments become one call each, everything else is copied."""

    def __init__(self, gm, read, segments, constants, settings):
        self.gm, self.read, self.constants, self.settings = gm, read, constants, settings
        self.graph = torch.fx.Graph()
        self.root = torch.nn.Module()
        self.new_of: Dict[Any, torch.fx.Node] = {}  # value, or FX node without a value -> new node
        self.segment_of_value = {v: s for s in segments for v in s.outputs}
        self.inside = {node: s for s in segments for node in s.nodes}  # what the engines run
        self.pending: Dict[str, torch.Tensor] = {}
        self.attributes: Dict[str, str] = {}
        self.sizes = SizeEmitter(gm, self.graph, self.lookup)

    def run(self) -> torch.fx.GraphModule:
        for node in self.gm.graph.nodes:
            if node.op == "placeholder" and (self.settings.keep_constants or node not in self.constants):
                self.new_of[self.key(node)] = self.graph.node_copy(node)
        for node in self.gm.graph.nodes:
            if node in self.inside:
                if draws_random_numbers(node):
                    self.lookup(self.read.node_of[self.inside[node].outputs[0]])
            elif node.op == "call_function" and (node.is_impure() or draws_random_numbers(node)):
                self.copy(node)
        self.graph.output(self.outputs())
        for name, tensor in self.pending.items():
            self.root.register_buffer(name, tensor)
        graph = torch.fx.GraphModule(self.root, self.graph)
        graph.graph.lint()
        return graph

    def outputs(self):
        """The graph's outputs without those that are written back, which become copies."""
        old = next(n for n in self.gm.graph.nodes if n.op == "output").args[0]
        new = [self.lookup(n) if isinstance(n, torch.fx.Node) else n for n in old]
        for position, view in self.settings.views.items():
            new[position] = view_in(self.graph, view, old[position], self.lookup)
        for position, target in self.settings.mutations.items():
            self.graph.call_function(torch.ops.aten.copy_.default, (self.lookup(target), new[position]))
        return tuple(n for position, n in enumerate(new) if position not in self.settings.mutations)

    def key(self, node):
        return self.read.value_of.get(node, node)

    def lookup(self, key) -> torch.fx.Node:
        """The new node for an FX node or an (FX node, output) pair of the old graph."""
        value = self.read.value_of.get(key, key)
        if value in self.new_of:
            return self.new_of[value]
        if value in self.segment_of_value:
            self.emit(self.segment_of_value[value])
            return self.new_of[value]
        if isinstance(key, tuple):
            new = self.graph.call_function(operator.getitem, (self.copy(key[0]), key[1]))
            new.meta["val"] = key[0].meta["val"][key[1]]
        else:
            new = self.copy(key)
        self.new_of[value] = new
        return new

    def copy(self, node) -> torch.fx.Node:
        """A node that stays as it is. Several outputs share one copy."""
        if ("copy", node) in self.new_of:
            return self.new_of[("copy", node)]
        if node in self.constants or node.op == "get_attr":
            new = self.attribute(node)
        elif self.is_size(node):
            new = self.sizes.size(node.meta["val"])
        elif node.target is operator.getitem:
            new = self.graph.call_function(operator.getitem, (self.copy(node.args[0]), node.args[1]))
            new.meta = dict(node.meta)
        else:
            new = self.graph.node_copy(node, self.lookup)
            new.target = in_pytorch(node)
        self.new_of[("copy", node)] = new
        return new

    def is_size(self, node) -> bool:
        """A size that follows from those of the inputs: nothing must be computed in PyTorch to ask it for its shape."""
        size = node.meta.get("val")
        return node.op == "call_function" and isinstance(size, torch.SymInt) and self.sizes.follows(size)

    def attribute(self, node) -> torch.fx.Node:
        if node in self.constants:
            given, tensor, is_param = self.constants[node]
        else:
            given, tensor, is_param = node.target, operator.attrgetter(node.target)(self.gm), False
        name = "const_" + given.replace(".", "_")
        if is_param:
            self.attributes[given] = name
        if isinstance(tensor, torch.Tensor):
            self.pending[name] = tensor.detach()
        else:
            setattr(self.root, name, tensor)
        new = self.graph.create_node("get_attr", name)
        new.meta = dict(node.meta)
        return new

    def emit(self, segment: BuiltSegment):
        inputs = [self.lookup(k) for k in segment.inputs]
        name = f"engine_{segment.index}"
        self.pending[name] = segment.carrier
        engine = self.graph.create_node("get_attr", name)
        metas = [self.meta_of(v) for v in segment.outputs]
        spec, sizes = self.sizes.emit(metas) if self.settings.sizes else ([], [])
        call = self.graph.call_function(torch.ops.tuyere.execute.default, (inputs, engine, sizes, spec))
        call.meta["val"] = metas
        for k, value in enumerate(segment.outputs):
            item = self.graph.call_function(operator.getitem, (call, k))
            item.meta["val"] = metas[k]
            self.new_of[value] = item

    def meta_of(self, value):
        key = self.read.node_of[value]
        return key[0].meta["val"][key[1]] if isinstance(key, tuple) else key.meta["val"]
