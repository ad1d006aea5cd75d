# SPDX-License-Identifier: Apache-2.0
"""Fake kernel of tuyere::execute: output types from `sizes` and `spec` alone, since a fake engine has no bytes.

spec: per output [rank, dtype code, device code, order code]; sizes: the output sizes, one after the other.
order code: 0 row-major, 1 channels-last, otherwise a 1 and then the dimensions from the outermost to the innermost, as digits of base 32.
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
        spec += [t.dim(), DTYPE_CODES.index(dtype), device, order_code(t)]
        sizes += list(t.shape)
    return spec, sizes


def _number(size) -> int:
    """Every symbol has the same large value: good for ordering strides, which differ by factors of sizes."""
    if not isinstance(size, torch.SymInt):
        return int(size)
    return int(size.node.expr.subs({s: 97 for s in size.node.expr.free_symbols}))


def _is_dense(shape, strides, order) -> bool:
    expected = 1
    for d in reversed(order):
        if shape[d] != 1:
            if strides[d] != expected:
                return False
            expected *= shape[d]
    return True


def _dense_strides(shape, order):
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d], step = step, step * shape[d]
    return strides


def covers_memory(t) -> bool:
    """Whether every element of its memory is one of the tensor's, and only one."""
    shape, strides = [_number(n) for n in t.shape], [_number(n) for n in t.stride()]
    return 0 in shape or _is_dense(shape, strides, sorted(range(t.dim()), key=lambda d: (-strides[d], shape[d] == 1)))


def order_code(t) -> int:
    """The memory order of a tensor that covers its memory, if possible one that gives dimensions of size 1 its strides too; 0 for others."""
    shape, strides = [_number(n) for n in t.shape], [_number(n) for n in t.stride()]
    rows = list(range(t.dim()))
    last = [0, *rows[2:], 1] if t.dim() in (4, 5) else rows
    outside = sorted(rows, key=lambda d: (shape[d] != 1, -strides[d]))
    loose = next((order for order in (rows, last, outside) if _is_dense(shape, strides, order)), rows)
    exact = sorted(rows, key=lambda d: (-strides[d], shape[d] == 1))
    order = next((order for order in (loose, exact) if _dense_strides(shape, order) == strides), loose)
    if order in (rows, last):
        return int(order != rows)
    code = 1
    for d in order:
        code = code * 32 + d
    return code


def _order(code, rank):
    """The inverse of order_code."""
    if code < 2:
        return [0, *range(2, rank), 1] if code else list(range(rank))
    digits = []
    for _ in range(rank):
        digits.insert(0, code % 32)
        code //= 32
    return digits


@torch.library.register_fake("tuyere::execute")
def _execute(inputs, engine, sizes, spec):
    outputs, at = [], 0
    for k in range(0, len(spec), 4):
        rank, code, device, order = spec[k : k + 4]
        shape, at = sizes[at : at + rank], at + rank
        place = "cpu" if device < 0 else f"cuda:{device}"
        dims = _order(order, rank)
        t = torch.empty([shape[d] for d in dims], dtype=TORCH_DTYPES[DTYPE_CODES[code]], device=place)
        outputs.append(t.permute([dims.index(d) for d in range(rank)]))
    return outputs
