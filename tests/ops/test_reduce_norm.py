# SPDX-License-Identifier: Apache-2.0
import torch
import torch.nn.functional as F
from harness import FLOATS, HALVES, op_case

ALL = FLOATS + HALVES


@op_case((3, 33), (2, 3, 5, 7), (4, 1025), dtypes=ALL)
def reductions_last(x):
    return x.sum(-1), x.mean(-1), x.amax(-1), x.amin(-1, keepdim=True)


@op_case((2, 3, 5, 7), (4, 8, 16, 16))
def reductions_mid(x):
    return x.sum(1), x.mean((2, 3)), x.mean((2, 3), keepdim=True), x.sum(0), x.var(1), x.std((2, 3))


@op_case((3, 33))
def reduce_all(x):
    return x.sum(), x.mean(), x.max(), x.min(), x.norm()


@op_case((6, 1), (1, 4), dynamic=[0])
def norms_of_single_values(x):
    return x.norm(dim=-1), x.norm(dim=-1, keepdim=True), x.norm(dim=(-2, -1))


@op_case((1, 4))
def norms_of_single_large_values(x):
    return torch.linalg.vector_norm(1e30 * x, 3, 0), torch.linalg.vector_norm(1e30 * x[0, 0], 6)


@op_case((3, 33))
def arg(x):
    return x.argmax(-1), x.argmin(0), x.max(1), x.min(0)


@op_case((3, 7), dtypes=(torch.bool,))
def bools(x):
    return x.any(-1), x.all(0), x.sum(-1)


@op_case((2, 8), (1, 3, 7, 7), (5, 1000), dtypes=ALL, dynamic=[0])
def softmax(x):
    return torch.softmax(x, dim=-1), F.log_softmax(x, dim=-1)


@op_case((4, 5, 6))
def softmax_axis(x):
    return torch.softmax(x, dim=1), torch.softmax(x, 0)


@op_case([(4, 16), (16,), (16,)], [(2, 3, 100), (100,), (100,)], dtypes=ALL)
def layer_norm(x, w, b):
    return F.layer_norm(x, x.shape[-1:], w, b)


@op_case((4, 6, 10), dynamic=[0])
def layer_norm_plain(x):
    return F.layer_norm(x, (6, 10)), F.layer_norm(x, (10,), eps=1e-3)


@op_case([(4, 16), (16,)], dtypes=ALL)
def rms_norm(x, w):
    return F.rms_norm(x, (16,), w, eps=1e-6), x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


@op_case([(2, 8, 5, 5), (8,), (8,)], [(3, 8, 7), (8,), (8,)], dtypes=ALL)
def group_norm(x, w, b):
    return F.group_norm(x, 4, w, b)


@op_case([(2, 8, 5, 5), (8,), (8,), (8,), (8,)], low=0.5)
def batch_norm(x, m, v, w, b):
    return F.batch_norm(x, m, v, w, b)


@op_case((4, 9))
def cumsum(x):
    return x.cumsum(-1), x.cumsum(0)
