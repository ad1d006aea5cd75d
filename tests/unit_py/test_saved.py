# SPDX-License-Identifier: Apache-2.0
"""What a training step keeps: no views, nothing in an order that engines do not write. The graphs run in PyTorch."""

import pytest
import torch
from tuyere import _compat, decompositions, saved

aten = torch.ops.aten


def heads(x, w):
    q, k = (x @ w.t()).view(2, 5, 2, 8).permute(2, 0, 1, 3).unbind(0)
    return (q * k.sin()).sum(-1)


def permuted(x, w):
    y = torch.nn.functional.conv1d(x.transpose(1, 2), w[:, :, None]).transpose(1, 2)
    return (y + y.mul(2).exp()).transpose(0, 1).sin()


def part(x, w):
    return (x @ w.t())[:, :1].exp().cos()


def compiled(f, graphs):
    def keep(gm, fakes):
        graphs.append(gm)
        return _boxed(gm)

    aot = _compat.aot_autograd(fw_compiler=keep, bw_compiler=keep, decompositions=decompositions.for_compile(training=True), partition_fn=saved.partition)
    return torch.compile(f, backend=aot)


def _boxed(gm):
    def run(args):
        return gm(*args)

    run._boxed_call = True
    return run


@pytest.mark.parametrize("f,kept", [(heads, 4), (permuted, 4), (part, 4)])
def test_kept(f, kept):
    torch._dynamo.reset()
    arguments = [torch.randn(2, 5, 8).requires_grad_(), torch.randn(16 if f is heads else 8, 8).requires_grad_()]
    graphs = []
    want = torch.autograd.grad(f(*arguments).square().sum(), arguments)
    got = torch.autograd.grad(compiled(f, graphs)(*arguments).square().sum(), arguments)
    torch.testing.assert_close(got, want)
    forward = graphs[0].graph
    values = forward.find_nodes(op="output")[0].args[0][1:]
    assert len(values) <= kept
    for node in values:
        assert node.op == "placeholder" or node.meta["val"].is_contiguous(), node
    views = [n for n in values if n.target in saved.VIEWS]
    assert not views or f is part  # a small part of a value is better kept than the value
