# SPDX-License-Identifier: Apache-2.0
"""Fused attention of every device becomes the same two ops in training. Graphs are made for a GPU that need not be there."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from tuyere.fused_attention import TRAINING

aten = torch.ops.aten
FORWARD = aten._scaled_dot_product_flash_attention_for_cpu.default
BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def flash(q, bias, dropout):
    r = aten._scaled_dot_product_flash_attention(q, q, q, dropout, True)
    return r[0], aten._scaled_dot_product_flash_attention_backward(q, q, q, q, *r[:6], dropout, True, r[6], r[7])


def efficient(q, bias, dropout):
    r = aten._scaled_dot_product_efficient_attention(q, q, q, bias, True, dropout)
    return r[0], aten._scaled_dot_product_efficient_attention_backward(q, q, q, q, bias, *r, dropout, [True, True, True, False])


def cudnn(q, bias, dropout):
    r = aten._scaled_dot_product_cudnn_attention(q, q, q, bias, True, dropout)
    return r[0], aten._scaled_dot_product_cudnn_attention_backward(q, q, q, q, r[0], r[1], r[6], r[7], bias, *r[2:6], dropout, False)


def ops_of(f, shape, dropout=0.0):
    """The ops that PyTorch's dispatcher would run, without dead ones."""
    with FakeTensorMode():
        q = torch.empty(shape, device="cuda", dtype=torch.float16)
        bias = torch.empty(*shape[:3], shape[2], device="cuda", dtype=torch.float16)
        graph = make_fx(lambda q, bias: f(q, bias, dropout), decomposition_table=TRAINING)(q, bias).graph
    graph.eliminate_dead_code()
    return [n.target for n in graph.nodes if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload)]


@pytest.mark.parametrize("f", [flash, efficient, cudnn])
def test_two_ops_remain(f):
    ops = ops_of(f, (2, 3, 40, 64))
    assert ops.count(FORWARD) == ops.count(BACKWARD) == 1
    assert not any("_scaled_dot_product" in str(op) for op in ops if op not in (FORWARD, BACKWARD))


@pytest.mark.parametrize("f", [flash, efficient, cudnn])
def test_others_stay_as_they_are(f):
    assert FORWARD not in ops_of(f, (2, 3, 40, 64), dropout=0.5)


def test_gradient_of_a_bias():
    """By a formula, against autograd."""
    torch.manual_seed(0)
    q, k, v, dout = (torch.randn(2, 3, 8, 16) for _ in range(4))
    bias = torch.randn(2, 3, 8, 8, requires_grad=True)
    torch.nn.functional.scaled_dot_product_attention(q, k, v, bias, scale=0.3).backward(dout)
    out, logsumexp = FORWARD(q, k, v, 0.0, False, attn_mask=bias.detach(), scale=0.3)
    backward = TRAINING[aten._scaled_dot_product_efficient_attention_backward.default]
    got = backward(dout, q, k, v, bias.detach(), out, logsumexp, None, None, 0.0, [True] * 4, scale=0.3)[3]
    torch.testing.assert_close(got, bias.grad)
