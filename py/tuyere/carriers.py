# SPDX-License-Identifier: Apache-2.0
"""Sizes that a graph is given as numbers. Engines know sizes from the shapes of their inputs: one that is no dimension of a tensor that the graph is given becomes one of an empty tensor."""

import torch

from ._compat import FakeTensor
from .symbols import symbol_of


def carry_sizes(gm: torch.fx.GraphModule, device: torch.device) -> None:
    """Adds those tensors (carriers), which engines take as inputs, to the graph."""
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    values = [n.meta.get("val") for n in placeholders]
    carried = {symbol_of(size) for val in values if isinstance(val, torch.Tensor) for size in val.shape}
    mode = next((val.fake_mode for val in values if isinstance(val, FakeTensor)), None)
    for node, val in zip(placeholders, values):
        symbol = symbol_of(val)
        if symbol is None or symbol in carried or mode is None:
            continue
        carried.add(symbol)
        with gm.graph.inserting_after(placeholders[-1]):
            carrier = gm.graph.call_function(torch.ops.aten.empty.memory_format, ([node, 0],), {"dtype": torch.float32, "device": device})
        with mode:
            carrier.meta = {"val": torch.empty([val, 0], device=device), "carrier": True}


def is_carrier(node: torch.fx.Node) -> bool:
    return "carrier" in node.meta
