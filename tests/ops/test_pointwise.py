# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
import tuyere
from harness import FLOATS, HALVES, op_case

ALL = FLOATS + HALVES
UNARY = "abs neg exp expm1 sin cos tan tanh sinh cosh asinh atan erf sigmoid floor ceil trunc round sign square relu reciprocal exp2".split()
POSITIVE = "sqrt rsqrt log log2 log10 log1p acosh".split()
ACTIVATIONS = {
    "silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "relu6": F.relu6, "leaky_relu": lambda x: F.leaky_relu(x, 0.1), "elu": F.elu, "softplus": F.softplus, "mish": F.mish, "hardtanh": F.hardtanh,
}  # fmt: skip

for _name in UNARY:
    globals()[f"test_{_name}"] = op_case((3, 33), (2, 3, 5, 7), dtypes=FLOATS)(getattr(torch, _name))
for _name in POSITIVE:
    globals()[f"test_{_name}"] = op_case((3, 33), low=1.1, high=3.0)(getattr(torch, _name))
for _name, _fn in ACTIVATIONS.items():
    globals()[f"test_{_name}"] = op_case((4, 65), dtypes=ALL, low=-5, high=5)(_fn)


@op_case([(3, 4), (3, 4)], [(3, 4), (4,)], [(2, 1, 4), (3, 1)], dtypes=ALL, dynamic=[])
def add(x, y):
    return x + y


@op_case([(3, 4), (3, 4)], [(5, 1), (1, 7)])
def arithmetic(x, y):
    return x * y - x / (y.abs() + 1) + 2 * x - 3


@op_case((3, 4), dtypes=(torch.int64, torch.int32))
def integers(x):
    return x * 3 + 1, x // 2, x % 3, x / 2, x & 1, x > 0


@op_case([(3, 9), (3, 9)], dtypes=(torch.int64, torch.int32, torch.uint8), low=-80 % 256, high=250)
def shifts(x, y):
    near = y % 9
    return x << near, x >> near, x << y, x >> y, x >> 4 & 15, x << 3, -(x >> 40), torch.bitwise_left_shift(1, near)


@op_case([(3, 4), (3, 4)])
def compare_where(x, y):
    return torch.where(x > y, x, y * 2), (x >= y) & ~(x == y)


@op_case((4, 6), (2, 8, 3), dtypes=ALL)
def gated(x):
    return F.glu(x, 1)


@op_case([(3, 4), (3, 4)], dtypes=ALL, dynamic=[])
def several_results(x, y):
    z = x + y
    w = z.sigmoid()
    return z, w, w * y


@op_case((6, 5), low=0.5)
def powers(x):
    return x**2, x**0.5, 2**x, x.pow(3), torch.pow(x, x)


@op_case((3, 33), low=-4.0, high=9.0)
def tails(x):
    return torch.erfc(x).log(), torch.lgamma(x)


@op_case((6, 5))
def clamps(x):
    return x.clamp(-1, 1), x.clamp(min=0), x.clamp_max(0.5)


@op_case((0, 4), (3, 0))
def empty(x):
    return (x + 1) * 2


@op_case((4, 8), dynamic=[0])
def dynamic_chain(x):
    return torch.tanh(x) * 2 + x.mean(-1, keepdim=True)


@op_case((4, 8), dtypes=FLOATS)
def casts(x):
    return x.half(), x.to(torch.int32), (x > 0).float(), x.double()


@op_case((4, 8))
def masked(x):
    return x.masked_fill(x > 0, float("-inf")), torch.nan_to_num(x)


@op_case([(4, 8), (4, 8), (4, 8)])
def addcmul(x, y, z):
    return torch.addcmul(x, y, z, value=0.5), torch.lerp(x, y, 0.3)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 8), (3, 37)])
def test_explicit_rounding(dtype, shape):
    """A cast to a shorter float that the user wrote rounds, although its neighbours are one kernel."""

    class Model(torch.nn.Module):
        def forward(self, x, y):
            rounded = (x * y).to(dtype).float()
            return x.to(dtype).float(), rounded - x * y, (x + y).to(dtype)

    x, y = torch.randn(shape), torch.randn(shape)
    for got, want in zip(tuyere.compile(Model(), (x, y), strict=True)(x, y), Model()(x, y)):
        assert torch.equal(got, want)
