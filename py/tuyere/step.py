# SPDX-License-Identifier: Apache-2.0
"""Training steps, and calls, without AOTAutograd's wrappers. Its autograd function is made for every graph: inputs that are written, outputs that are views, subclasses, tokens, states of generators. A graph that
has none of these gets one that calls forward and backward and does nothing else, which takes half of the time; the first step, and calls for which that is too little, take AOTAutograd's."""

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, List, Optional, Sequence

import torch

from . import _compat, _tuyere
from .rooted import with_roots

aten = torch.ops.aten
Boxed = Callable[[List[Any]], Sequence[Any]]


@dataclass
class StepParts:
    """What AOTAutograd makes of one graph, in the order of its callbacks: the joint graph is partitioned, its forward graph compiled, and at the first backward pass the other."""

    gradients: List[bool] = field(default_factory=list)  # of each input: whether the backward graph computes one
    sources: List[Any] = field(default_factory=list)  # of each input: Dynamo's, or None
    metadata: Any = None
    forward: Optional[Boxed] = None
    backward: Optional[Boxed] = None


def short_step(whole, parts: StepParts, inputs: Sequence[Any]):
    """`whole`, the function of the graph's inputs that AOTAutograd returned, or a shorter one that does the same."""
    m = parts.metadata
    if parts.forward is None or not _is_plain(m) or not len(inputs) == len(m.input_info) == len(parts.gradients):
        return whole
    if not all(isinstance(x, (torch.Tensor, int, torch.SymInt)) for x in inputs) or _compat.saved_tensors_are_traced() or _compat.uses_compiled_autograd():
        return whole
    autocast = _compat.autocast_off if _compat.is_autocasting() else None
    detached = [
        k for k, info in enumerate(m.input_info) if info.requires_grad and not info.is_leaf and not parts.gradients[k]
    ]  # else they would seem to have gradients

    def made():
        """What calls autograd; None as long as there is no backward graph."""
        if parts.backward is None:
            return None
        apply = _compat.plain_apply(_autograd_function(parts, autocast))
        return (lambda *args: apply(*[t.detach() if k in detached else t for k, t in enumerate(args)])) if detached else apply

    return _tuyere.step_call(whole, made, torch.is_grad_enabled, _compat.are_transforms_active, _compat.set_eval_frame)


def short_call(whole, parts: StepParts, inputs: Sequence[Any]):
    """The same for a graph without gradients: calls go from Dynamo to the compiled graph."""
    m = parts.metadata
    if parts.forward is None or m is None or not _is_plain(m) or len(inputs) != len(m.input_info) or _compat.is_autocasting():
        return whole
    if not all(isinstance(x, (torch.Tensor, int, torch.SymInt)) for x in inputs):
        return whole
    forward = parts.forward

    def run(*args):
        if torch.is_grad_enabled() or _compat.are_transforms_active():
            return whole(*args)
        return forward(list(args))

    runner = getattr(forward, "runner", None)
    return run if runner is None else with_roots(run, runner, parts.sources, inputs)


def _is_plain(m) -> bool:
    """Whether nothing must happen beside calling the graphs: the metadata of AOTAutograd."""
    written = m.num_mutated_inp_runtime_indices or m.num_mutated_graph_handled_indices or m.indices_of_inputs_that_requires_grad_with_mutations_in_bw
    aliased = m.num_outputs_aliased or m.num_intermediate_bases
    threaded = m.tokens or m.num_backward_tokens or m.is_rng_op_functionalized or m.num_graphsafe_rng_states or m.grad_enabled_mutation is not None
    marked = m.dynamic_outputs or m.dynamic_saved_tensors_idxs
    kept = m.num_symints_saved_for_bw or m.num_tensors_saved_with_no_vc_check or m.num_opaque_objects_saved_for_bw
    described = (*m.subclass_inp_meta, *m.subclass_fw_graph_out_meta, *m.subclass_tangent_meta)
    return not (written or aliased or threaded or marked or kept) and all(isinstance(p, _compat.PlainTensorMeta) for p in described)


def _autograd_function(parts: StepParts, autocast):
    """The autograd function of a plain graph. autocast: what switches it off, or None."""
    m = parts.metadata
    count, views, tangents = m.num_outputs, list(m.unsafe_view_out_indices), list(m.subclass_tangent_meta)
    constant = [k for k, info in enumerate(m.output_info) if not info.requires_grad]
    differentiable = [k for k, info in enumerate(m.output_info) if info.requires_grad and issubclass(info.raw_type, torch.Tensor)]
    within = autocast or contextlib.nullcontext

    def forward(ctx, *args):
        with within():
            results = parts.forward(list(args))
        ctx.save_for_backward(*[t.detach() if t._is_view() else t for t in results[count:]])
        results = list(results[:count])
        for k in views:  # what is returned is nobody's view
            if results[k]._is_view():
                results[k] = aten._unsafe_view(results[k], results[k].shape)
        if constant:
            ctx.mark_non_differentiable(*[results[k] for k in constant if isinstance(results[k], torch.Tensor)])
            ctx._materialize_non_diff_grads = False
        return tuple(results)

    def backward(ctx, *gradients):
        _compat.refuse_function_transforms()
        if torch.are_deterministic_algorithms_enabled() and m.deterministic is False:
            raise RuntimeError(
                "the forward pass was compiled without torch.use_deterministic_algorithms(True), which is set now; set it before the forward pass"
            )
        args = [*ctx.saved_tensors, *(_compat.as_traced(gradients[k], expected) for k, expected in zip(differentiable, tangents))]

        def run(*_):
            ctx.maybe_clear_saved_tensors()
            with within():
                return tuple(parts.backward(list(args)))

        if torch.is_grad_enabled() and any(t.requires_grad for t in args):
            return _Twice.apply(run, *args)
        return run()

    # While a caller of backward() is being traced, PyTorch's own files are left out; this one is not of them.
    step: Any = type("TuyereStep", (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(_compat.not_traced(backward))})
    engines = getattr(parts.forward, "direct", None), getattr(parts.backward, "direct", None)
    if None not in engines:  # the same without the interpreter
        exceptional = [torch.is_grad_enabled, _compat.are_transforms_active]
        if m.deterministic is False:
            exceptional.append(_compat.is_deterministic)
        native = _tuyere.training_step(*engines, count, constant, differentiable, torch.Tensor, autocast, step.forward, step.backward, exceptional)
        if native is not None:
            _compat.use_native_directions(step, *native)
    return step


class _Twice(torch.autograd.Function):
    """A backward pass whose results have no gradients, and say so."""

    @staticmethod
    def forward(ctx, run, *args):
        return run()

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError("torch.compile with aot_autograd does not currently support double backward")
