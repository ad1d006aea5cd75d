# SPDX-License-Identifier: Apache-2.0
"""The one place that imports private modules of PyTorch (2.11 and later). Every name here is checked by tests/unit_py/test_compat.py."""

import contextlib

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.export.exported_program import _override_composite_implicit_decomp
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from .decompositions import PRESERVED

__all__ = [
    "FakeTensor",
    "FakeTensorMode",
    "aot_autograd",
    "free_unbacked_symbols",
    "keep_composite_ops",
    "unset_fake_temporarily",
    "static_input_indices",
    "tf32_flags",
]


def _is_composite(op):
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")


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


def tf32_flags():
    """Whether (matmuls, convolutions) of float32 data may use TF32. The newer of PyTorch's two ways of saying so answers for both: reading the older one
    raises when the newer has been used."""

    def allows(backend, *parents):
        for setting in (backend, *parents, torch.backends):
            if setting.fp32_precision != "none":
                return setting.fp32_precision == "tf32"
        return False

    return allows(torch.backends.cuda.matmul), allows(torch.backends.cudnn.conv, torch.backends.cudnn)
