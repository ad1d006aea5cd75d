# SPDX-License-Identifier: Apache-2.0
"""What a training step keeps from its forward for its backward pass. AOTAutograd's default partition keeps every value that the backward pass reads, in eager's
memory order; an engine would copy the views among them, and reorder others. Here views are taken again from what they view, and values are kept as engines write
them: row-major, images around convolutions on the CPU channels-last."""

import math
import operator
from typing import Dict, List

import torch

from . import _compat

aten = torch.ops.aten

# Ops whose only tensor is the first argument, which the result shares memory with.
VIEWS = {
    getattr(op, overload)
    for op, overloads in (
        (aten.alias, ("default",)),
        (aten.detach, ("default",)),
        (aten.expand, ("default",)),
        (aten.permute, ("default",)),
        (aten.select, ("int",)),
        (aten.slice, ("Tensor",)),
        (aten.squeeze, ("default", "dim", "dims")),
        (aten.t, ("default",)),
        (aten.transpose, ("int",)),
        (aten.unsqueeze, ("default",)),
        (aten.view, ("default",)),
        (aten._unsafe_view, ("default",)),
    )
    for overload in overloads
}


def partition(joint: torch.fx.GraphModule, inputs, *, num_fwd_outputs: int, **settings):
    """The partition function of AOTAutograd: (forward, backward) graphs of a joint one."""
    if not _compat.is_recomputing(joint):  # activation checkpointing says itself what is kept
        _take_views_again(joint.graph)
    forward, backward = _compat.default_partition(joint, inputs, num_fwd_outputs=num_fwd_outputs, **settings)
    _drop_states(forward, backward)
    _keep_dense(forward, backward, num_fwd_outputs)
    return forward, backward


def _take_views_again(graph: torch.fx.Graph) -> None:
    """Views of the forward pass that the backward pass reads become its own, of the same values."""
    forward = _compat.forward_nodes(graph)
    mutated = _compat.mutated_inputs(graph)  # to keep them is not to keep their values
    by_base: Dict[torch.fx.Node, List[torch.fx.Node]] = {}
    for node in forward:
        if node.target in VIEWS and any(_is_backward(user, forward) for user in node.users):
            by_base.setdefault(_base(node), []).append(node)
    base_of: Dict[torch.fx.Node, torch.fx.Node] = {}
    for base, views in by_base.items():
        if base not in mutated and (base.op == "placeholder" or _worth_keeping(base, views, forward)):
            base_of.update((view, base) for view in views if view is not base)
    for node in graph.nodes:
        if _is_backward(node, forward):
            taken: Dict[torch.fx.Node, torch.fx.Node] = {}  # for each reader, so that engines need not hand views to each other
            for view in node.all_input_nodes:
                if view in base_of:
                    node.replace_input_with(view, _copy_before(graph, node, view, base_of[view], taken))
    graph.lint()


def _is_backward(node: torch.fx.Node, forward: Dict[torch.fx.Node, None]) -> bool:
    return node not in forward and node.op != "output"


def _base(node: torch.fx.Node) -> torch.fx.Node:
    """What a chain of views begins with. Views by sizes that are known at run time only are no links of it."""
    while node.target in VIEWS and len(node.all_input_nodes) == 1:
        node = node.args[0]
    return node


def _worth_keeping(base, views, forward) -> bool:
    """Whether the views are at least half of the base, or it is kept anyway."""
    if any(_is_backward(user, forward) for user in base.users):
        return True
    if not isinstance(base.meta.get("val"), torch.Tensor):
        return False
    sizes = [math.prod(n.meta["val"].shape) for n in (base, *views)]
    return _compat.statically_known_true(2 * sum(sizes[1:]) >= sizes[0])


def _copy_before(graph, user, view, base, taken):
    """A copy of the chain from `base` to `view`, before its first user."""
    if view is base:
        return base
    if view not in taken:
        source = _copy_before(graph, user, view.args[0], base, taken)
        with graph.inserting_before(user):
            taken[view] = graph.call_function(view.target, (source, *view.args[1:]), view.kwargs)
        taken[view].meta = {k: v for k, v in view.meta.items() if k != "partitioner_tag"}
    return taken[view]


def _draws_nothing(op, args, kwargs) -> bool:
    """Whether an op that PyTorch marks as random is not, with these arguments: attention without dropout."""
    return op is aten._scaled_dot_product_flash_attention_for_cpu.default and (args[3] if len(args) > 3 else kwargs.get("dropout_p", 0.0)) == 0


def _drop_states(forward, backward) -> None:
    """Ops that are computed again are wrapped where PyTorch marks them as random: the state of the generator goes from one graph to the other. Those that draw nothing become what they were."""
    output = next(n for n in forward.graph.nodes if n.op == "output")
    states = [n for n in output.args[0] if isinstance(n, torch.fx.Node) and n.target is operator.getitem and n.args[0].target is _compat.run_and_save_rng_state]
    readers = [n for n in backward.graph.nodes if n.target is _compat.run_with_rng_state]
    by_name = {n.args[0].name: n for n in readers}
    dropped = set()
    for k, state in enumerate(states):  # PyTorch numbers them
        wrapped, again = state.args[0], by_name.get(f"rng_state_output_{k}")
        op, *args = wrapped.args
        if again is None or again.args[1] is not op or not _draws_nothing(op, args, wrapped.kwargs):
            continue
        (result,) = (n for n in wrapped.users if n is not state)
        meta = result.meta
        _unwrap(forward.graph, result, op, args, wrapped.kwargs, meta)
        given, _, *args = again.args
        _unwrap(backward.graph, again, op, args, again.kwargs, meta)
        backward.graph.erase_node(given)
        dropped.add(state)
    if dropped:
        output.args = (tuple(n for n in output.args[0] if n not in dropped), *output.args[1:])
        forward.graph.eliminate_dead_code()
        forward.recompile()
        backward.recompile()


def _unwrap(graph, node, op, args, kwargs, meta) -> None:
    with graph.inserting_before(node):
        plain = graph.call_function(op, tuple(args), dict(kwargs))
    plain.meta = dict(meta)
    node.replace_all_uses_with(plain)
    graph.erase_node(node)


# What makes images of images of other sizes.
POOLS = {getattr(aten, f"{kind}_pool{n}d").default for n in (2, 3) for kind in ("avg", "_adaptive_avg")} | {
    getattr(aten, f"max_pool{n}d_with_indices").default for n in (2, 3)
}


def _images(forward: torch.fx.Graph) -> Dict[torch.fx.Node, None]:
    """What convolutions give, on the CPU, and what is computed of it position by position."""
    images: Dict[torch.fx.Node, None] = {}
    for node in forward.nodes:
        value = node.meta.get("val")
        first = value[0] if isinstance(value, (tuple, list)) and value else value
        if node.op != "call_function" or not isinstance(first, torch.Tensor) or first.dim() not in (4, 5) or first.device.type != "cpu":
            continue
        inputs = [n for n in node.all_input_nodes if n in images]
        same_size = any(isinstance(n.meta["val"], (tuple, list)) or _same_shape(n.meta["val"], first) for n in inputs)
        if node.target is aten.convolution.default or same_size or (inputs and node.target in POOLS):
            images[node] = None
    return images


def _same_shape(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dim() == b.dim() and all(_compat.statically_known_true(m == n) for m, n in zip(a.shape, b.shape))


def _keep_dense(forward, backward, num_fwd_outputs: int) -> None:
    """What is kept is row-major, or channels-last."""
    images = _images(forward.graph)
    output = next(n for n in forward.graph.nodes if n.op == "output")
    read_as = {n.name: n for n in backward.graph.nodes if n.op == "placeholder"}
    outputs = list(output.args[0])
    returned = set(outputs[:num_fwd_outputs])  # laid out as the caller wants them
    changed = False
    for k, node in enumerate(outputs[num_fwd_outputs:], num_fwd_outputs):
        value = node.meta.get("val") if isinstance(node, torch.fx.Node) and node.op != "placeholder" and node not in returned else None
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or node.name not in read_as or _is_dense(value, node in images):
            continue
        inside = {4: torch.channels_last, 5: torch.channels_last_3d}
        memory_format = inside[value.dim()] if node in images else torch.contiguous_format
        with forward.graph.inserting_before(output):
            outputs[k] = forward.graph.call_function(aten.clone.default, (node,), {"memory_format": memory_format})
        outputs[k].meta = dict(node.meta)
        with value.fake_mode:
            outputs[k].meta["val"] = torch.empty(value.shape, dtype=value.dtype, device=value.device, memory_format=memory_format)
        reader = read_as[node.name]
        reader.meta = {**reader.meta, "val": outputs[k].meta["val"]}
        changed = True
    if changed:
        output.args = (tuple(outputs), *output.args[1:])
        # In another memory order a view may need a copy.
        for node in backward.graph.find_nodes(op="call_function", target=aten.view.default):
            node.target = aten.reshape.default
        forward.recompile()
        backward.recompile()


def _is_dense(value: torch.Tensor, image: bool) -> bool:
    """Without guards: sizes that are not known do not count."""
    rank = value.dim()
    orders = ([[0, *range(2, rank), 1]] if rank in (4, 5) else []) + ([] if image else [list(range(rank))])
    return any(_has_order(value, order) for order in orders)


def _has_order(value: torch.Tensor, order: List[int]) -> bool:
    step = 1
    for dim in reversed(order):
        size, stride = value.shape[dim], value.stride(dim)
        if not _compat.statically_known_true(size == 1) and not _compat.statically_known_true(stride == step):
            return False
        step = step * size
    return True
