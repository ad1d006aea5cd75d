# SPDX-License-Identifier: Apache-2.0
"""Ops that become others before the engine sees them (py/tuyere/decompositions.py)."""

import pytest
import torch
import tuyere
from harness import op_case

F = torch.nn.functional


@op_case((2, 7), (3, 2, 9))
def unfold(x):
    return x.unfold(1, 2, 1), x.unfold(-1, 3, 2), x.unfold(-1, 3, 3), -x.mT.contiguous().mT.unfold(0, x.shape[0], 1)


@op_case((2, 18, 16), (1, 27, 16))
def fold(x):
    return F.fold(x, (8, 7), 3, padding=1, stride=2), -F.fold(x, (6, 6), 3, stride=1), F.fold(x, (9, 12), 3, dilation=(2, 1), padding=(1, 0), stride=(2, 3))


@op_case((3, 16, 6))
def fold_without_overlaps(x):
    return F.fold(x, (4, 6), (2, 2), stride=2), F.fold(x, (9, 8), (2, 2), stride=(4, 3))


@op_case((2, 3, 10, 14), dtypes=(torch.float32,))
def antialiased(x):
    sizes = {"size": (9, 11)}, {"size": (4, 20), "align_corners": True}, {"scale_factor": 0.4}
    return [F.interpolate(x, mode=mode, antialias=True, **size) for mode in ("bilinear", "bicubic") for size in sizes]


@op_case([(3, 5), (8,)])
def masked_scatter(x, source):
    return x.masked_scatter((torch.arange(15) % 2 == 0).view(3, 5).to(x.device), source)  # the mask is made on the CPU


@op_case([(3, 5)], dtypes=(torch.float32,))
def constants_of_the_cpu(x):
    return x * torch.tensor([1.0, 2, 3, 4, 5]).to(x.device) + torch.arange(x.shape[0]).to(x.device)[:, None]


@op_case([(4, 8), (4, 6), (5, 8, 6), (5,)])
def bilinear(a, b, weight, bias):
    return F.bilinear(a, b, weight, bias)


@op_case([(3, 4, 5), (3, 6, 5)])
def cdist(a, b):
    return torch.cdist(a, b), torch.cdist(a, b, p=1), torch.cdist(a, b, p=3)


@op_case([(3, 4), (3, 4)])
def signs(x, y):
    zero = torch.zeros_like(y) * y
    return torch.signbit(zero), torch.signbit(x), torch.copysign(x, y), torch.copysign(x, zero), torch.copysign(x, -0.0), torch.ldexp(x, y.round())


@op_case([(4, 5), (4,)])
def diagonal_scatter(x, source):
    return x.diagonal_scatter(source), x.diagonal_scatter(source[:3], -1)


@op_case([(3, 5), (5, 3)], [(2, 4), (2, 4)])
def as_strided_scatter(x, source):
    return x.relu().as_strided_scatter(source * 2, source.shape, source.stride(), 0) + 1


@op_case((3, 5), (2, 4))
def median(x):
    holes = torch.where(x > 0, float("nan"), x)
    return x.median(), holes.median(), holes.nanmedian(), torch.angle(holes)


@op_case([(4, 5), (3, 5), (3, 5)], ints=(None, 4, None))
def reductions_without_self(x, i, source):
    at = torch.tensor([0, 2, 2], device=x.device)
    scattered = [x.scatter_reduce(0, i, source, reduce, include_self=False) for reduce in ("sum", "mean", "prod", "amax", "amin")]
    indexed = [x.index_reduce(0, at, source, reduce, include_self=own) for reduce in ("mean", "amax") for own in (True, False)]
    of_signs = ("sum", "prod", "amax", "amin") if x.device.type == "cpu" else ()  # eager has none for bools on a GPU
    signs = [(x > 0).scatter_reduce(0, i, source > 0, reduce, include_self=False) for reduce in of_signs]
    return [*scattered, *indexed, x.scatter_reduce(0, i, source, "mean"), *signs]


@op_case((3, 4))
def bucketize(x):
    edges = torch.tensor([-1.0, 0.0, 0.5, 1.0], device=x.device, dtype=x.dtype)
    return torch.bucketize(x, edges), torch.bucketize(x, edges, right=True), torch.searchsorted(edges, x)


@op_case([(12, 4), (3, 5)], ints=(None, 12))
def embedding_bag(weight, ids):
    return F.embedding_bag(ids, weight, mode="mean"), F.embedding_bag(ids, weight, mode="sum"), F.embedding_bag(ids, weight, mode="max")


@op_case((2, 4, 5, 6))
def instance_norm(x):
    return F.instance_norm(x), F.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize("constant", [True, False])
def test_standardized_weights_keep_their_mean(constant):
    """A convolution adds up what all weights of a row are off by: eager's means are within 1e-8 of the deviation, those of differences to the mean are not."""

    class Standardized(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(0.05 * torch.randn(256, 1536, generator=torch.Generator().manual_seed(0)) + 0.002)

        def forward(self, x):
            weight = self.weight if constant else self.weight * x[0, 0]
            return F.batch_norm(weight[None], None, None, training=True, eps=1e-6)[0] + 0 * x

    model, x = Standardized().eval(), torch.ones(1, 1)
    with torch.no_grad():
        want, got, exact = model(x), tuyere.compile(model, (x,))(x), model.double()(x.double())
    off = [float((y.double() - exact).mean(1).square().mean().sqrt()) for y in (want, got)]
    assert off[1] < 3 * off[0]


@op_case([(2, 3, 5, 6), (2, 4, 4, 2)], low=-0.9, high=0.9)
def grid_sample(x, grid):
    return F.grid_sample(x, grid, align_corners=False), F.grid_sample(x, grid, mode="nearest", padding_mode="border", align_corners=True)


ENCODERS = [
    torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval(),
    torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="gelu").eval(),
]


def test_transformer_encoder_layer():
    """The fused op of PyTorch's inference fast path, with and without a mask of padding."""

    x = torch.randn(2, 5, 16)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    for layer in ENCODERS:
        for kwargs in ({}, {"src_key_padding_mask": padding}):
            with torch.no_grad():
                torch._dynamo.reset()
                call = torch.compile(layer, backend="tuyere", options={"strict": True})
                want = layer(x, **kwargs)
                keep = ~padding if kwargs else torch.ones(2, 5, dtype=torch.bool)
                torch.testing.assert_close(call(x, **kwargs)[keep], want[keep], rtol=1e-4, atol=1e-5)
                assert tuyere.reports()[-1].num_engines == 1


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_unpooled_images_keep_their_memory_order(order):
    def unpool(x, places):
        return F.max_unpool2d(x, places, 2) + 1

    x, places = F.max_pool2d(torch.randn(2, 3, 6, 4).to(memory_format=order), 2, return_indices=True)
    got, want = torch.compile(unpool, backend="tuyere", options={"strict": True})(x, places), unpool(x, places)
    torch.testing.assert_close(got, want)
    assert got.stride() == want.stride()
