# SPDX-License-Identifier: Apache-2.0
"""Fused attention of every device becomes the same two ops in training. Graphs are made for a GPU that need not be there."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from tuyere.decompositions import for_compile
from tuyere.fused_attention import TRAINING, on_gpu_backward
from tuyere.lower import LowerSettings, lower
from tuyere.options import parse_options

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


def lowered(f, *shapes, **options):
    """For a GPU that is absent. The mode in which the graph can be run, too."""
    with FakeTensorMode() as mode:
        graph = make_fx(f, decomposition_table=for_compile(training=True))(*(torch.empty(s, device="cuda") for s in shapes))
    made = lower(graph, {}, parse_options({"target": "sm_90a", "engine_cache": False, **options}), LowerSettings())
    return made, mode


def placed(made):
    return made.report.num_engines, made.report.num_hosted, made.report.num_outside


def attention_step(q, k, bias, dout):
    r = aten._scaled_dot_product_efficient_attention(q, k, k, bias, True, scale=0.5)
    return r[0], *aten._scaled_dot_product_efficient_attention_backward(dout, q, k, k, bias, *r, 0.0, [True, True, True, False], scale=0.5)[:3]


def permuted_step(q, k, bias, dout):
    """As of models: heads are inner dimensions."""
    return attention_step(*(t.view(t.shape[0], t.shape[2], t.shape[1], t.shape[3]).transpose(1, 2) for t in (q, k)), bias, dout)


STEP = (2, 3, 40, 16), (2, 3, 50, 16), (1, 3, 40, 50), (2, 3, 40, 16)


def test_in_engines_of_a_gpu():
    assert placed(lowered(attention_step, *STEP)[0]) == (1, 0, 0)


NAMES = "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_flash_attention_for_cpu_backward"


def run_fake(node):
    """The results of a node of a graph, and the ops behind them."""
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
    graph = make_fx(lambda args, kwargs: node.target(*args, **kwargs))(args, kwargs).graph
    return node.target(*args, **kwargs), [str(n.target) for n in graph.nodes]


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
@pytest.mark.parametrize("step", [attention_step, permuted_step])
@pytest.mark.parametrize("outside", [NAMES[:1], NAMES[1:], NAMES])
def test_outside_of_engines_of_a_gpu(step, outside):
    """What PyTorch runs are ops that it has on the GPU, whose results are in memory as the graph expects them."""
    made, mode = lowered(step, *STEP, run_in_torch=list(outside))
    assert placed(made)[1:] == (0, len(outside))
    nodes = [n for n in made.graph.graph.nodes if n.op == "call_function" and isinstance(n.meta.get("val"), tuple)]
    assert len(nodes) == len(outside)
    for node in nodes:
        assert node.target not in (FORWARD, BACKWARD)
        with mode:
            got, ops = run_fake(node)
        assert not any("_for_cpu" in op for op in ops)
        assert len(got) == len(node.meta["val"])
        for tensor, want in zip(got, node.meta["val"], strict=True):
            assert (tensor.shape, tensor.dtype, tensor.device) == (want.shape, want.dtype, want.device)
            assert tensor.dim() == 3 or tensor.stride() == want.stride()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_outside_of_engines_of_a_gpu(dtype, causal, masked):
    """By formulas, beside what PyTorch has on the CPU."""
    torch.manual_seed(0)
    q, k, v, dout = (torch.randn(2, 3, n, 24).to(dtype) for n in (100, 140, 140, 100))
    bias = torch.randn(2, 1, 100, 140).to(dtype) if masked else None
    if masked:
        bias[:, :, ::7, 1:] = -torch.inf
    out, logsumexp = FORWARD(q, k, v, 0.0, causal, attn_mask=bias, scale=0.3)
    want = BACKWARD(dout, q, k, v, out, logsumexp, 0.0, causal, attn_mask=bias, scale=0.3)
    for got, expected in zip(on_gpu_backward(dout, q, k, v, out, logsumexp, 0.0, causal, attn_mask=bias, scale=0.3), want, strict=True):
        assert got.dtype == dtype and got.stride() == expected.stride()
        torch.testing.assert_close(got, expected, rtol=1e-2 if dtype == torch.float16 else 1e-4, atol=1e-2 if dtype == torch.float16 else 1e-5)


def test_queries_that_see_nothing_have_no_gradients():
    q, k, v, dout = (torch.randn(1, 2, 8, 16) for _ in range(4))
    bias = torch.zeros(1, 1, 8, 8)
    bias[:, :, 3] = -torch.inf
    scores = (q @ k.transpose(-1, -2) / 4 + bias).logsumexp(-1)
    got = on_gpu_backward(dout, q, k, v, torch.zeros_like(q), scores, 0.0, False, attn_mask=bias)
    assert not got[0][:, :, 3].any() and all(g.isfinite().all() for g in got)


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_graphs_whose_engine_cannot_be_built():
    made, _ = lowered(attention_step, *STEP, tactic_sources=["reference"])
    assert placed(made)[0] == 0
    assert not any(n.target in (FORWARD, BACKWARD) for n in made.graph.graph.nodes)
    assert all("could not be built" in reason for *_, reason in made.report.fallbacks)


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_convolutions_in_engines_of_a_gpu(transposed, tf32, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)

    def step(x, w, dout):
        return aten.convolution_backward(dout, x, w, [24], [1, 1], [1, 1], [1, 1], transposed, [0, 0], 1, [True, True, True])

    weight = (16, 24, 3, 3) if transposed else (24, 16, 3, 3)
    assert placed(lowered(step, (3, 16, 9, 7), weight, (3, 24, 9, 7))[0]) == (1, 0, 0)
