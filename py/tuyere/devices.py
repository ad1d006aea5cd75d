# SPDX-License-Identifier: Apache-2.0
"""Values that are made on the CPU from sizes and constants alone and then copied to the graph's device, as in `torch.arange(n).to(x.device)`, are made
on that device."""

import operator
from typing import Any, Dict, List, Optional

import torch

aten = torch.ops.aten


def make_on_device(gm: torch.fx.GraphModule, constants: Dict[torch.fx.Node, Any], device: torch.device) -> None:
    """Rewrites `gm` in place. constants: placeholder -> (name, tensor, is_param); parameters stay where they are."""
    for node in list(gm.graph.nodes):
        if node.target is not aten._to_copy.default or _device(node) != device or _device(node.args[0]) in (None, device):
            continue
        cone, mode = _cone(node.args[0], constants), getattr(node.meta["val"], "fake_mode", None)
        if cone is None or mode is None:
            continue
        moved: Dict[torch.fx.Node, torch.fx.Node] = {}
        with gm.graph.inserting_before(node):
            for part in cone:
                moved[part] = _constant(gm, part, constants, device, mode) if part.op != "call_function" else _call(gm, part, moved, device, mode)
        node.args = (moved[node.args[0]], *node.args[1:])
        for part in reversed(cone):
            if not part.users and part.op != "placeholder":
                gm.graph.erase_node(part)


def _device(node) -> Optional[torch.device]:
    value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
    return value.device if isinstance(value, torch.Tensor) else None


def _cone(root: torch.fx.Node, constants) -> Optional[List[torch.fx.Node]]:
    """What `root` is computed from, itself last: constants and operators without side effects. None: there is something else."""
    found: Dict[torch.fx.Node, None] = {}

    def add(node) -> bool:
        if node in found or not isinstance(node.meta.get("val"), torch.Tensor) and _is_size(node):
            return True
        if not (_is_constant(node, constants) or _is_pure(node) and all(add(n) for n in node.all_input_nodes)):
            return False
        found[node] = None
        return True

    return list(found) if add(root) else None


def _is_size(node) -> bool:
    return isinstance(node.meta.get("val"), (int, torch.SymInt))  # of an input, perhaps: known on the host


def _is_constant(node, constants) -> bool:
    return node.op == "get_attr" if node not in constants else not constants[node][2]


def _is_pure(node) -> bool:
    op = node.target
    if node.op != "call_function" or not isinstance(op, torch._ops.OpOverload) or not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    return not op._schema.is_mutable and torch.Tag.nondeterministic_seeded not in op.tags


def _constant(gm, node, constants, device, mode) -> torch.fx.Node:
    tensor = constants[node][1] if node in constants else operator.attrgetter(node.target)(gm)
    name = f"_on_device_{len(list(gm.buffers()))}"
    gm.register_buffer(name, tensor.detach().to(device), persistent=False)
    new = gm.graph.get_attr(name)
    with mode:
        new.meta["val"] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return new


def _call(gm, node, moved, device, mode) -> torch.fx.Node:
    new = gm.graph.node_copy(node, lambda n: moved.get(n, n))
    if any(argument.name == "device" for argument in node.target._schema.arguments):
        new.kwargs = {**new.kwargs, "device": device}
    args, kwargs = torch.fx.map_arg((new.args, new.kwargs), lambda n: n.meta["val"])
    with mode:
        new.meta["val"] = node.target(*args, **kwargs)
    return new
