# SPDX-License-Identifier: Apache-2.0
import torch
import torch.nn.functional as F
from harness import op_case


@op_case((2, 3, 4), dynamic=[0])
def views(x):
    return x.view(x.shape[0], 12), x.transpose(1, 2), x.permute(2, 0, 1).contiguous(), x.flatten(0, 1), x.unsqueeze(1).squeeze(1)


@op_case((4, 6, 5))
def slices(x):
    return x[1:3], x[:, ::2], x[..., -1], x[:, 2:], x.narrow(1, 1, 3), x[:, 1:5:3, 2]


@op_case((2, 6, 4))
def splits(x):
    a, b, c = x.chunk(3, dim=1)
    d, e = x.split([2, 4], dim=1)
    return a + b * c, d, e.sum(1), torch.stack(x.unbind(1), 0)


@op_case([(2, 3), (2, 5), (2, 1)], dynamic=[0])
def cat(x, y, z):
    return torch.cat([x, y, z], 1), torch.cat([x.relu(), y * 2], -1)


@op_case((2, 1, 4))
def expands(x):
    return x.expand(2, 3, 4) + 1, x.repeat(1, 2, 2), x.repeat_interleave(2, dim=2)


@op_case((2, 3, 4, 5))
def pads(x):
    return (
        F.pad(x, (1, 2)),
        F.pad(x, (1, 1, 2, 0), value=3.0),
        F.pad(x, (1, 1, 1, 1), mode="reflect"),
        F.pad(x, (1, 1, 1, 1), mode="replicate"),
        F.pad(x, (-1, 1)),
    )


@op_case((4, 5))
def flips(x):
    return x.flip(0), x.flip((0, 1)), x.roll(2, 1), x.roll((1, 2), (0, 1))


@op_case((0, 5))
def rolls_of_nothing(x):
    return x.roll(2, 0), x.roll(2, 1)


@op_case([(10, 8), (3, 4)], ints=(None, 10))
def embedding(w, i):
    return F.embedding(i, w)


@op_case([(5, 6), (5, 3)], ints=(None, 5))
def gathers(x, i):
    return x.gather(1, i), x.index_select(0, i[0]), x[i[:, 0]], x[:, i[0]], x[i[:, 0], i[:, 1]]


@op_case([(5, 6), (5, 3), (5, 3)], ints=(None, 5, None))
def scatters(x, i, v):
    return x.scatter(1, i, 2.0), x.scatter_add(1, i, v)


@op_case((3, 4))
def index_fills(x):
    columns = x.mT.contiguous().mT  # not row-major: the result keeps the order
    return columns.index_fill(0, torch.tensor([0, 2], device=x.device), -1.5), x.index_fill(-1, torch.tensor([1], device=x.device), x.sum())


@op_case((3, 4))
def creation(x):
    d = x.device
    return x + torch.arange(4, device=d), torch.full((2, 3), 7.0, device=d), torch.zeros_like(x), x + torch.ones(4, device=d), torch.arange(0, 10, 2, device=d)


@op_case((5, 5))
def triangles(x):
    return x.tril(), x.triu(1), x.tril(-1)


@op_case((3, 20))
def sorts(x):
    return x.topk(4), x.sort(-1), x.sort(0, descending=True)


@op_case((3, 7), dynamic=[0])
def kthvalue(x):
    return x.kthvalue(3), x.kthvalue(1, 0, keepdim=True)[0], x[0, 0].kthvalue(1)


@op_case((6, 4), dtypes=(torch.int64,))
def one_hot_like(x):
    return (x[:, None] == torch.arange(4, device=x.device)[None, None].reshape(1, 4, 1)).sum(1)


@op_case((2, 3, 4))
def selects(x):
    y = x.clone()
    y[:, 1] = 0
    y[0, :, 2:] = 5
    return y
