# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
import tuyere
from harness import FLOATS, HALVES, op_case

ALL = FLOATS + HALVES


@op_case([(4, 8), (8, 5)], [(1, 64), (64, 64)], [(3, 7, 9), (9, 4)], [(2, 3, 5, 7), (2, 3, 7, 6)], [(2, 1, 5, 7), (3, 7, 6)], dtypes=ALL)
def matmul(x, y):
    return x @ y


@op_case([(4, 8), (5, 8), (5,)], [(2, 3, 16), (32, 16), (32,)], [(130, 72), (96, 72), (96,)], dtypes=ALL, dynamic=[])
def linear(x, w, b):
    return F.linear(x, w, b), F.gelu(F.linear(x, w, b)), F.relu(F.linear(x, w)) + 1


@op_case([(3, 4, 5), (3, 5, 6), (3, 4, 6)])
def batched(x, y, z):
    return torch.bmm(x, y), torch.baddbmm(z, x, y, beta=0.5, alpha=2.0)


@op_case([(4, 5), (5, 6), (4, 6)])
def addmm(x, y, z):
    return torch.addmm(z, x, y), torch.addmm(z, x, y, beta=2, alpha=0.5), x.t() @ z


@op_case([(2, 3, 9, 9), (8, 3, 3, 3), (8,)], [(1, 16, 14, 14), (32, 16, 1, 1), (32,)], [(1, 4, 12, 10), (8, 4, 5, 3), (8,)], dtypes=ALL)
def conv2d(x, w, b):
    return F.conv2d(x, w, b, padding=1), F.relu(F.conv2d(x, w, None, stride=2))


@op_case([(2, 8, 9, 9), (8, 1, 3, 3), (8,)], dtypes=ALL)
def depthwise(x, w, b):
    return F.silu(F.conv2d(x, w, b, padding=1, groups=8)), F.conv2d(x, w, b, stride=2, padding=1, groups=8)


@op_case([(2, 16, 9, 9), (16, 4, 3, 3), (16,)])
def grouped(x, w, b):
    return F.conv2d(x, w, b, padding=2, dilation=2, groups=4)


@op_case([(2, 8, 9, 10), (8, 1, 3, 3), (12, 8, 3, 3), (12,)], dtypes=ALL)
def padded(x, v, w, b):
    """Borders of models from other frameworks."""
    x = F.relu(F.conv2d(F.pad(x, (0, 1, 1, 2)), v, stride=2, groups=8))
    return (
        F.conv2d(F.pad(x, (1, 2, 0, 1)), w, b, padding="same"),
        F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-float("inf")), 3, 2),
        F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2),
    )


@op_case([(2, 4, 20), (6, 4, 3), (6,)])
def conv1d(x, w, b):
    return F.conv1d(x, w, b, padding=1, stride=2)


@op_case([(1, 3, 6, 7, 8), (4, 3, 3, 3, 3), (4,)])
def conv3d(x, w, b):
    return F.conv3d(x, w, b, padding=1)


@op_case([(2, 4, 7, 7), (4, 6, 3, 3), (6,)])
def conv_transpose(x, w, b):
    return F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1)


@op_case([(2, 16, 7, 6), (16, 24, 2, 2), (24,), (24, 8, 4, 4), (2, 8, 28, 24), (8, 8, 3, 3)])
def conv_transpose_image(x, v, b, w, y, u):
    """Windows side by side, in a concatenation, with overlaps, and with a gap."""
    big = F.relu(F.conv_transpose2d(x, v, b, stride=2))
    y = F.relu(F.conv2d(y, u, padding=1))
    small = torch.cat([F.max_pool2d(y, 2), F.gelu(big)], 1)
    return torch.cat([F.relu(F.conv_transpose2d(big, w, stride=2, padding=1)), y], 1), small, F.conv_transpose2d(big, w[..., :1], stride=2)


@op_case([(2, 4, 9), (4, 6, 3), (6,), (2, 6, 27)])
def conv_transpose1d(x, w, b, y):
    return F.conv_transpose1d(x, w, b, stride=3) + y, F.conv_transpose1d(x, w, b, stride=2, padding=1)


@op_case([(1, 4, 3, 4, 5), (4, 6, 2, 1, 3), (6,)])
def conv_transpose3d(x, w, b):
    return F.conv_transpose3d(x, w, b, stride=(2, 1, 3)).sigmoid()


@op_case([(2, 8, 9, 9), (8, 8, 3, 3), (2, 8, 9, 9)])
def residual(x, w, z):
    return F.relu(F.conv2d(x, w, None, padding=1) + z)


@op_case([(2, 8, 9, 9), (8, 8, 3, 3), (8,), (2, 8, 9, 9)], [(1, 16, 6, 5), (16, 1, 3, 3), (16,), (1, 16, 6, 5)], dtypes=ALL)
def residual_behind_activation(x, w, b, z):
    y = F.conv2d(x, w, b, padding=1, groups=x.shape[1] // w.shape[1])
    return z + F.silu(y), F.relu(y) + z


@op_case((2, 3, 9, 9), dtypes=ALL)
def max_pool(x):
    return F.max_pool2d(x, 3, 2, 1), F.max_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2, count_include_pad=False)


@op_case((2, 3, 12, 9))
def adaptive(x):
    return F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool2d(x, (5, 4)), F.adaptive_avg_pool2d(x, (3, 3))


@op_case([(2, 4, 10, 16), (2, 4, 10, 16), (2, 4, 10, 16)], [(1, 2, 7, 64), (1, 2, 33, 64), (1, 2, 33, 64)], dtypes=ALL)
def sdpa(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


@op_case([(2, 4, 10, 16), (2, 4, 10, 16), (2, 4, 10, 16)])
def sdpa_causal(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@op_case([(2, 4, 10, 16), (2, 4, 10, 16), (2, 4, 10, 16), (2, 1, 10, 10)])
def sdpa_mask(q, k, v, m):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=m), F.scaled_dot_product_attention(q, k, v, attn_mask=m > 0)


@op_case([(2, 8, 10, 16), (2, 2, 10, 16), (2, 2, 10, 16)])
def sdpa_gqa(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


@op_case((2, 3, 6, 5))
def resize(x):
    return (
        F.interpolate(x, scale_factor=2),
        F.interpolate(x, size=(9, 11), mode="bilinear"),
        F.interpolate(x, size=(9, 11), mode="bilinear", align_corners=True),
        F.interpolate(x, size=(9, 4), mode="bicubic"),
        F.interpolate(x, scale_factor=1.7, mode="bicubic", align_corners=True),
    )


@op_case((2, 3, 6))
def resize_1d(x):
    return F.interpolate(x, scale_factor=2.5), F.interpolate(x, size=9, mode="linear")


@op_case((1, 2, 4, 3, 5))
def resize_3d(x):
    return F.interpolate(x, scale_factor=2), F.interpolate(x, size=(3, 6, 7), mode="trilinear", align_corners=True)


@pytest.mark.parametrize(
    "op", [lambda x: F.interpolate(x, (9, 7), mode="bicubic"), lambda x: F.pad(x, (2, 1, 0, 2), mode="reflect")], ids=["bicubic", "reflect"]
)
def test_one_kernel(op):
    """Not the index arithmetic that PyTorch decomposes these into."""

    class Model(torch.nn.Module):
        def forward(self, x):
            return op(x)

    program = tuyere.compile(Model(), (torch.randn(1, 3, 6, 5),), strict=True)
    assert len(program.engines[0].steps) == 1
