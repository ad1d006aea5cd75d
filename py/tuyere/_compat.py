# SPDX-License-Identifier: Apache-2.0
"""The one place that imports private modules of PyTorch (2.11 and later). Every name here is checked by tests/unit_py/test_compat.py."""

import contextlib

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.export.exported_program import _override_composite_implicit_decomp
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

__all__ = [
    "FakeTensor",
    "FakeTensorMode",
    "PRESERVED",
    "aot_autograd",
    "core_decompositions",
    "export_decompositions",
    "free_unbacked_symbols",
    "keep_composite_ops",
    "unset_fake_temporarily",
    "static_input_indices",
]

_aten = torch.ops.aten

# Composite ops that reach the converter table whole: the engine has something better than their decomposition.
PRESERVED = [
    _aten.linear.default,
    _aten.scaled_dot_product_attention.default,
    _aten.layer_norm.default,
    _aten.group_norm.default,
    _aten.rms_norm.default,
    _aten.conv1d.default,
    _aten.conv2d.default,
    _aten.conv3d.default,
    _aten.conv2d.padding,
    _aten.matmul.default,
    _aten.silu.default,
    _aten.hardswish.default,
    _aten.hardsigmoid.default,
    _aten.gelu.default,
    _aten.upsample_bilinear2d.vec,
    _aten.upsample_nearest2d.vec,
    _aten.adaptive_avg_pool2d.default,
    _aten.linalg_vector_norm.default,
    _aten.roll.default,
]


def _is_composite(op):
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")


def core_decompositions():
    """Decompositions of the torch.compile path: core ATen, less what the engine wants whole."""
    table = dict(torch._decomp.core_aten_decompositions())
    for op in PRESERVED:
        table.pop(op, None)
    return table


def export_decompositions():
    """Decompositions of the torch.export path."""
    table = torch.export.default_decompositions()
    for op in PRESERVED:
        table.pop(op, None)
    return table


@contextlib.contextmanager
def keep_composite_ops():
    """While active, tracing does not decompose PRESERVED composite ops. Inference only: they have no autograd formula then."""

    def keep(*args, **kwargs):
        return NotImplemented

    with _override_composite_implicit_decomp({op: keep for op in PRESERVED if _is_composite(op)}):
        yield


def static_input_indices():
    """Positions of parameters and buffers among the inputs of the graph that AOTAutograd is compiling."""
    context = TracingContext.try_get()
    if context is None or context.fw_metadata is None:
        return []
    return list(context.fw_metadata.static_input_indices or [])
