# SPDX-License-Identifier: Apache-2.0
"""The torch.compile backend. The entry point group torch_dynamo_backends of pyproject.toml names tuyere()."""

import contextlib
import functools
import operator
import re
import time
from typing import Any, Dict, List, Optional

import torch

from . import _compat, _compat_calls, _compat_recurrent, data_writes, decompositions, saved
from .direct import ViewedCall, direct_call
from .engine import FirstCalls, unload_with
from .lower import Lowered, LowerSettings, finish_report, lower, refuse_fallbacks
from .options import Options, checked_mapping, parse_options
from .output_views import take_views
from .read_fx import module_path, source_line
from .report import Report
from .step import StepParts, short_call, short_step
from .watch import ArgumentWatch


def tuyere(gm: torch.fx.GraphModule, example_inputs: List[Any], *, options: Optional[Dict[str, Any]] = None, mode: Optional[str] = None):
    """torch.compile(model, backend="tuyere", options={...}). mode is accepted for symmetry: "max-autotune" means optimization_level 5.
    Unlike tuyere.compile, it takes weights="shared" when nothing is said."""
    given = dict(checked_mapping(options))
    if mode is not None and mode.startswith("max-autotune"):
        given.setdefault("optimization_level", 5)
    elif mode not in (None, "default", "reduce-overhead"):
        raise ValueError(f"mode={mode!r} is not one of default, reduce-overhead, max-autotune")
    _compat_calls.leave_arguments_unrecorded()
    _compat_calls.leave_out_implied_guards()
    if given.get("target") is None:
        given.setdefault("weights", "shared")  # the module stays: a second copy of its weights would be waste
    session = Session(gm, list(example_inputs), parse_options(given))
    fills = _fills_of_shared_memory(gm)
    return session.leave_to_pytorch(gm, fills) if fills else compile_with(session, gm, example_inputs)


_compat_recurrent.trace_recurrent_modules(tuyere)


def compile_with(session: "Session", gm, example_inputs):
    """Gives the graphs that AOTAutograd makes of gm to the session."""
    training = _wants_grad(gm, example_inputs)
    aot = _compat.aot_autograd(
        fw_compiler=session.compile_forward,
        bw_compiler=session.compile_backward,
        inference_compiler=session.compile_inference,
        decompositions=decompositions.for_compile(training),
        partition_fn=session.partition,
    )
    if training:
        return short_step(aot(gm, example_inputs), session.parts, example_inputs)
    with contextlib.nullcontext() if _differentiates(gm) or _takes_subclasses(gm) else _compat.keep_composite_ops():
        return short_call(aot(gm, example_inputs), session.parts, example_inputs)


def _fills_of_shared_memory(gm) -> List[torch.fx.Node]:
    """In-place fills of views whose elements share memory (of expand), the only writes to such that eager allows: AOTAutograd would fill one element."""
    return [n for n in gm.graph.nodes if (n.target in ("fill_", "zero_") or n.target is operator.setitem) and _shares_memory(n.args[0])]


def _shares_memory(node) -> bool:
    value = node.meta.get("example_value") if isinstance(node, torch.fx.Node) else None
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return False
    return any(_compat.statically_known_true(stride == 0) and not _compat.statically_known_true(size <= 1) for size, stride in zip(value.shape, value.stride()))


def _wants_grad(gm, inputs) -> bool:
    tensors = [t for t in inputs if isinstance(t, torch.Tensor)] + list(gm.parameters())
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _differentiates(gm) -> bool:
    """Whether the graph itself takes gradients, forward or backward, or maps (torch.func, torch.autograd): composite ops must be what they consist of then."""
    graphs = [m.graph for m in gm.modules() if isinstance(m, torch.fx.GraphModule)]
    modules = (str(getattr(n.target, "__module__", "")) for g in graphs for n in g.nodes if n.op == "call_function")
    return any(module.startswith(_compat.TRANSFORMS) for module in modules)


def _takes_subclasses(gm) -> bool:
    """Whether there are tensors that are made of others, such as nested ones: these know what composite ops consist of, and not always the ops."""
    values = (n.meta.get("example_value") for n in gm.graph.nodes)
    return any(isinstance(v, torch.Tensor) and _compat.is_traceable_wrapper_subclass(v) for v in values)


class Session:
    """One graph of Dynamo: its real inputs, which AOTAutograd replaces by fakes."""

    def __init__(self, gm, inputs, options: Options):
        self.options, self.parts = options, StepParts()
        self.name = getattr(gm, "_lazy_graph_name", "graph")
        own = [(n, t) for n, t in gm.named_parameters(remove_duplicate=False)] + [(n, t) for n, t in gm.named_buffers(remove_duplicate=False)]
        placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
        self.named = own + [(_user_name(p), t) for p, t in zip(placeholders, inputs)]
        self.parts.sources = [getattr(p, "_dynamo_source", None) for p in placeholders]

    def compile_inference(self, gm, fakes):
        self.parts.metadata = _compat.forward_metadata()
        self.parts.forward = self.compile(gm, self.constants(gm, len(fakes)), take_views)
        return self.parts.forward

    def partition(self, joint, inputs, **settings):
        forward, backward = saved.partition(joint, inputs, **settings)
        self.parts.gradients = [n is not None for n in next(n for n in backward.graph.nodes if n.op == "output").args[0]]
        return forward, backward

    # In training parameters are inputs, so an optimizer step needs no rebuild.

    def compile_forward(self, gm, fakes):
        self.parts.metadata = m = _compat.forward_metadata()
        self.parts.forward = self.compile(gm, {}, functools.partial(take_views, count=m.num_forward_returns) if m else None)
        if getattr(self.parts.forward, "direct", None) is not None:  # engines give every output memory of its own
            _compat.return_as_they_are(self.parts.metadata)
        return self.parts.forward

    def compile_backward(self, gm, fakes):
        self.parts.backward = self.compile(gm, {})
        return self.parts.backward

    def compile(self, gm, constants, take=None):
        """take: what finds the outputs that are returned as views."""
        views = take(gm) if take else {}
        with _compat.unset_fake_temporarily():  # weights and engines are real
            return _Runner(lower(gm, constants, self.options, LowerSettings(views=views), self.name), gm).boxed()

    def leave_to_pytorch(self, gm, fills):
        """Runs the whole graph of Dynamo as it is, because of these nodes."""
        reason = "it fills memory that several elements share, which AOTAutograd does not follow: the graph runs in eager; clone() the expanded tensor"
        fallbacks = [(str(getattr(n.target, "__name__", n.target)), module_path(n), source_line(n), reason) for n in fills]
        if self.options.strict:
            refuse_fallbacks(fallbacks)
        count = sum(n.op.startswith("call") for n in gm.graph.nodes)
        report = Report(name=self.name, num_nodes=count, num_outside=count, fallbacks=fallbacks, precision=self.options.precision)
        finish_report(report, self.options, time.perf_counter())
        return gm.forward

    def constants(self, gm, count) -> Dict[torch.fx.Node, Any]:
        """Parameters and buffers that may be built in: known, static, and not written by the graph."""
        placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
        if count != len(self.named) or len(placeholders) != count:
            return {}
        context = _compat.TracingContext.try_get()
        mutated = set(context.fw_metadata.mutated_inp_runtime_indices) if context and context.fw_metadata else set()
        out, used = {}, set()
        for index in _compat.static_input_indices():
            name, tensor = self.named[index]
            known = isinstance(tensor, torch.Tensor) and not isinstance(tensor, _compat.FakeTensor)
            if known and index not in mutated:
                while name in used:
                    name += "_"
                used.add(name)
                out[placeholders[index]] = (name, tensor, True)
        return out


def _user_name(placeholder: torch.fx.Node) -> str:
    """L['self']._modules['c']._parameters['weight'] -> c.weight"""
    source = getattr(placeholder, "_dynamo_source", None)
    text = source.name if source is not None and isinstance(source.name, str) else (source.name() if source is not None else placeholder.name)
    parts = re.findall(r"\['([^']*)'\]|\[(\d+)\]|\.([A-Za-z0-9]\w*)", text)
    names = [a or b or c for a, b, c in parts]
    return ".".join(n for n in names if n not in ("self", "L")) or placeholder.name


class _Runner:
    """Calls a lowered graph with the flat arguments of AOTAutograd."""

    def __init__(self, lowered: Lowered, original):
        self.graph = lowered.graph
        placeholders = [n for n in original.graph.nodes if n.op == "placeholder"]
        positions = {n: i for i, n in enumerate(placeholders)}
        self.watches = []
        for segment in lowered.segments:
            nodes = [lowered.read.params[n] for n in segment.params]
            if nodes:
                tensors = [lowered.constants[n][1] for n in nodes]
                self.watches.append(ArgumentWatch(segment.engine, segment.params, tensors, [positions[n] for n in nodes]))
        self.direct = direct_call(lowered.graph, {id(s.carrier): s.engine for s in lowered.segments})
        if self.direct is not None:
            self.direct.watch([w.native for w in self.watches])
        self.first_calls = FirstCalls([s.engine for s in lowered.segments])
        unload_with(self, [s.carrier for s in lowered.segments])

    def __call__(self, args):
        if self.first_calls.left:
            self.first_calls.count()
        if self.direct is not None:
            data_writes.publish()
            results = self.direct(args)
            if results is not None:
                return results
        for watch in self.watches:
            watch.refit_if_changed(args)
        return self.graph(*args)

    def boxed(self):
        if self.direct is None or self.watches:
            run = boxed(self)
            run.runner = self
            return run

        def run(args):  # nothing has to be looked at before: training, where parameters are arguments
            out = self.direct(args)
            if out is None:
                out = self.graph(*args)
            args.clear()
            return out

        run._boxed_call = True
        run.direct = None if isinstance(self.direct, ViewedCall) else self.direct
        return run


def boxed(call):
    """`call` as AOTAutograd calls a compiled graph: with one list, which is emptied."""

    def run(args):
        out = call(args)
        args.clear()
        return out

    run._boxed_call = True
    return run
