# SPDX-License-Identifier: Apache-2.0
"""A new-op test in three lines:

    @op_case((2, 8), (1, 3, 7), dtypes=FLOATS)
    def softmax(x):
        return torch.softmax(x, dim=-1)

Every case runs ahead of time and through torch.compile, asserts that everything was converted, and compares with float64.
A shape is a tuple; several tensors are several shapes in a list: [(2, 3), (3,)]. ints=(k, ...) draws those tensors as indices below k.
"""

import dataclasses
import inspect
import itertools
from typing import Any, Callable, Optional, Sequence

import pytest
import torch
import tuyere

FLOATS = (torch.float32,)
HALVES = (torch.float16, torch.bfloat16)
EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


@dataclasses.dataclass
class Case:
    fn: Callable
    shapes: Sequence[Any]
    dtypes: Sequence[torch.dtype]
    ints: Sequence[Optional[int]]
    low: float
    high: float
    dynamic: Sequence[int]
    options: dict


def error_of(got: torch.Tensor, want: torch.Tensor) -> float:
    """Relative L2 error against a float64 reference."""
    got, want = got.detach().double().cpu(), want.detach().double().cpu()
    assert got.shape == want.shape, f"shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    if want.numel() == 0:
        return 0.0
    assert torch.equal(torch.isnan(got), torch.isnan(want)), "NaN in different places"
    finite = torch.isfinite(want)
    assert torch.equal(got[~finite & ~torch.isnan(want)], want[~finite & ~torch.isnan(want)]), "infinities differ"
    return float((got[finite] - want[finite]).norm() / want[finite].norm().clamp_min(1e-30))


def assert_close(got, eager, exact, context=""):
    """got is at most 1.5x as far from the float64 result as eager is, with a floor of 4 eps. Integers must be equal."""
    if not eager.is_floating_point():
        assert got.dtype == eager.dtype and torch.equal(got.cpu(), eager.cpu()), f"{context}: integer results differ"
        return
    assert got.dtype == eager.dtype, f"{context}: dtype {got.dtype}, expected {eager.dtype}"
    bound = max(1.5 * error_of(eager, exact), 4 * EPS[eager.dtype])
    assert error_of(got, exact) <= bound, f"{context}: error {error_of(got, exact):.2e} over {bound:.2e}"


def leaves(out):
    return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]


class _Wrap(torch.nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *args):
        return self.fn(*args)


def _inputs(case: Case, shapes, dtype, device):
    generator = torch.Generator().manual_seed(7)
    out = []
    for k, shape in enumerate(shapes):
        limit = case.ints[k] if k < len(case.ints) else None
        if limit is not None:
            out.append(torch.randint(0, limit, shape, generator=generator).to(device))
        elif dtype == torch.bool:
            out.append((torch.rand(shape, generator=generator) < 0.5).to(device))
        elif dtype.is_floating_point:
            out.append((torch.rand(shape, generator=generator, dtype=torch.float64) * (case.high - case.low) + case.low).to(dtype).to(device))
        else:
            out.append(torch.randint(int(case.low), max(int(case.high), int(case.low) + 1) + 3, shape, generator=generator, dtype=dtype).to(device))
    return out


def exact(t):
    return t.double() if t.is_floating_point() else t


def run_case(case: Case, shapes, dtype, device):
    inputs = _inputs(case, shapes, dtype, device)
    module = _Wrap(case.fn)
    with torch.no_grad():
        eager = leaves(module(*inputs))
        reference = leaves(module(*[exact(t) for t in inputs]))
        program = tuyere.compile(module, inputs, strict=True, **case.options)
        assert program.report().num_engines == 1 and program.report().num_hosted == 0
        for got, e, r in zip(leaves(program(*inputs)), eager, reference, strict=True):
            assert_close(got, e, r, "tuyere.compile")
        compiled = torch.compile(module, backend="tuyere", options={"strict": True, **case.options}, dynamic=bool(case.dynamic) or None)
        for got, e, r in zip(leaves(compiled(*inputs)), eager, reference, strict=True):
            assert_close(got, e, r, "torch.compile")
    if case.dynamic:
        _run_dynamic(case, module, inputs)


def _run_dynamic(case, module, inputs):
    """One ahead-of-time build for all sizes of the dims in case.dynamic (of every input that has them)."""
    for d in case.dynamic:  # torch.export takes a size of 1 for a constant
        inputs = [torch.cat([t, t], d) if t.dim() > d and t.shape[d] == 1 else t for t in inputs]
    shapes = tuple({d: torch.export.Dim.DYNAMIC for d in case.dynamic if d < t.dim()} for t in inputs)
    with torch.no_grad():
        program = tuyere.compile(module, inputs, dynamic_shapes={"args": shapes}, strict=True, **case.options)
        for size in (1, 5, 11):
            other = [t.repeat_interleave(size, d)[(slice(None),) * d + (slice(0, size),)] for d in case.dynamic[:1] for t in inputs]
            for got, e, r in zip(leaves(program(*other)), leaves(module(*other)), leaves(module(*[exact(t) for t in other])), strict=True):
                assert_close(got, e, r, f"dynamic size {size}")


def op_case(*shapes, dtypes=FLOATS, ints=(), low=-2.0, high=2.0, dynamic=(), **options):
    """See the module's docstring. Draws floats uniformly from [low, high)."""

    def decorate(fn):
        case = Case(fn, shapes, dtypes, ints, low, high, dynamic, options)
        sets = [s if isinstance(s, list) else [s] for s in shapes]
        params = [pytest.param(s, d, id=f"{'_'.join('x'.join(map(str, t)) or 'scalar' for t in s)}-{str(d)[6:]}") for s, d in itertools.product(sets, dtypes)]
        devices = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]

        @pytest.mark.parametrize("device", devices)
        @pytest.mark.parametrize("shapes,dtype", params)
        def test(shapes, dtype, device):
            run_case(case, shapes, dtype, device)

        test.__name__ = f"test_{fn.__name__}"
        inspect.currentframe().f_back.f_globals[f"test_{fn.__name__}"] = test
        return test

    return decorate
