# SPDX-License-Identifier: Apache-2.0
"""torch.utils.swap_tensors, which modules call too when they are converted or loaded by swapping, refuses tensors with weak references, as watched weights
have: these are dropped before, and the weights count as changed."""

import functools

import torch

from . import _tuyere, data_writes

_SWAP = torch.utils.swap_tensors


@functools.wraps(_SWAP)
def _swap_tensors(t1, t2):
    for tensor in (t1, t2):
        _tuyere.forget_weight(tensor)
        data_writes.release(tensor)
    return _SWAP(t1, t2)


def allow():
    """From now on watched weights can be swapped."""
    torch.utils.swap_tensors = _swap_tensors
