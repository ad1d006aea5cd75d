# SPDX-License-Identifier: Apache-2.0
"""Fake kernel of tuyere::execute: output types from `sizes` and `spec` alone, since a fake engine has no bytes.

spec: per output [rank, dtype code, device code, channels_last]; sizes: the output sizes, one after the other.
device code: -1 the CPU, otherwise the CUDA ordinal.
"""

import torch

from .read_fx import TORCH_DTYPES

DTYPE_CODES = list(TORCH_DTYPES)


def spec_of(tensors):
    """spec and sizes for outputs like `tensors` (fake or real)."""
    spec, sizes = [], []
    for t in tensors:
        device = -1 if t.device.type == "cpu" else (t.device.index or 0)
        dtype = next(name for name, d in TORCH_DTYPES.items() if d == t.dtype)
        spec += [t.dim(), DTYPE_CODES.index(dtype), device, int(is_channels_last(t))]
        sizes += list(t.shape)
    return spec, sizes


def is_channels_last(t) -> bool:
    """Whether the strides are those of a dense tensor with dimension 1 innermost, and not row-major."""
    if t.dim() not in (4, 5):
        return False
    fmt = torch.channels_last if t.dim() == 4 else torch.channels_last_3d
    return t.is_contiguous(memory_format=fmt) and not t.is_contiguous()


@torch.library.register_fake("tuyere::execute")
def _execute(inputs, engine, sizes, spec):
    outputs, at = [], 0
    for k in range(0, len(spec), 4):
        rank, code, device, last = spec[k : k + 4]
        shape, at = sizes[at : at + rank], at + rank
        place = "cpu" if device < 0 else f"cuda:{device}"
        t = torch.empty(shape, dtype=TORCH_DTYPES[DTYPE_CODES[code]], device=place)
        if last:
            t = t.to(memory_format=torch.channels_last if rank == 4 else torch.channels_last_3d)
        outputs.append(t)
    return outputs
