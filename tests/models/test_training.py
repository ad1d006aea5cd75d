# SPDX-License-Identifier: Apache-2.0
"""Training steps: forward and backward are engines, parameters are inputs of them, and the losses are eager's."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
import tuyere
from harness import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")


class Digits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        n = torch.nn
        self.features = n.Sequential(n.Conv2d(1, 8, 3, padding=1, bias=False), n.BatchNorm2d(8), n.ReLU(), n.MaxPool2d(2), n.Conv2d(8, 16, 3), n.GELU())
        self.head = n.Sequential(n.Flatten(), n.Dropout(0.2), n.LayerNorm(64), n.Linear(64, 10))

    def forward(self, x):
        return self.head(self.features(x))


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(16, 48), torch.nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(x.shape))


def conv_net():
    n = torch.nn
    return n.Sequential(
        n.Conv2d(3, 8, 3, padding=1), n.GroupNorm(2, 8), n.SiLU(), n.Conv2d(8, 8, 3, groups=8), n.AvgPool2d(2), n.ConvTranspose2d(8, 4, 2, 2), n.PReLU()
    )


MODELS = {
    "attention": (Attention, lambda: torch.randn(2, 5, 16)),
    "conv": (conv_net, lambda: torch.randn(2, 3, 8, 8)),
    "embedding": (lambda: torch.nn.Sequential(torch.nn.Embedding(20, 8, padding_idx=0), torch.nn.LayerNorm(8)), lambda: torch.randint(0, 20, (3, 5))),
    "recurrent": (lambda: torch.nn.GRUCell(4, 6), lambda: torch.randn(3, 4)),
    "softmax": (lambda: torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LogSoftmax(-1)), lambda: torch.randn(5, 8)),
}


def close(got, want, bound):
    return float((got - want).norm()) <= bound * float(want.norm()) + 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_gradients(name):
    make, data = MODELS[name]
    model, x = make(), data()
    other = copy.deepcopy(model)
    tuyere.clear_reports()
    torch.compile(model, backend="tuyere")(x).sub(0.5).pow(3).mean().backward()
    other(x).sub(0.5).pow(3).mean().backward()
    for (label, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert close(p.grad, q.grad, 1e-4), label
    assert [r.num_engines for r in tuyere.reports()] == [1, 1]


def attend(mask=None, **settings):
    def f(q, k, v):
        return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask, **settings)

    return f


def normalize(*shape):
    def f(x, *parameters):
        return F.layer_norm(x, shape, *parameters)

    return f


HEADS = [(2, 7, 3, 20)] * 3
# Functions, the shapes of their arguments, and the operators that must be native.
GRADIENTS = {
    "attention": (attend(), [(2, 100, 3, 20), (2, 140, 3, 20), (2, 140, 3, 20)]),
    "attention, causal": (attend(is_causal=True, scale=0.4), [(1, 150, 2, 16)] * 3),
    "attention, float mask": (attend(torch.linspace(-1, 1, 49).view(7, 7)), HEADS),
    "attention, bool mask": (attend(torch.arange(49).view(7, 7) % 3 != 0), HEADS),
    "attention, masked rows": (attend((torch.arange(7) % 3 != 0)[:, None].expand(7, 7)), HEADS),
    "conv": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(3, 16, 9, 7), (24, 16, 3, 3), (24,)]),
    "conv, strided": (lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), [(2, 4, 8, 6), (6, 2, 3, 2)]),
    "conv, patches": (lambda x, w, b: F.conv2d(x, w, b, stride=2), [(3, 1, 9, 8), (24, 1, 2, 2), (24,)]),
    "conv, transposed": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1), [(2, 6, 4, 5), (6, 8, 3, 3), (8,)]),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, stride=2), [(2, 5, 12), (8, 5, 3), (8,)]),
    "conv3d": (lambda x, w: F.conv3d(x, w, padding=1), [(1, 4, 3, 5, 4), (6, 4, 3, 3, 3)]),
    "max pool": (lambda x: F.max_pool2d(x * 2, 3, 2, padding=1), [(2, 5, 9, 8)]),
    "max pool, of a convolution": (lambda x, w: F.max_pool2d(F.conv2d(x, w), 2), [(2, 5, 9, 8), (16, 5, 1, 1)]),
    "max pool 3d": (lambda x: F.max_pool3d(x * 2, 2), [(2, 3, 4, 6, 4)]),
    "avg pool": (lambda x: F.avg_pool2d(x * 2, 3, 2, padding=1, count_include_pad=False), [(2, 5, 9, 8)]),
    "avg pool, ceil": (lambda x: F.avg_pool2d(x * 2, (3, 2), ceil_mode=True), [(5, 10, 7)]),
    "adaptive avg pool": (lambda x: F.adaptive_avg_pool2d(x * 2, (3, 2)), [(2, 5, 7, 8)]),
    "adaptive avg pool 3d": (lambda x: F.adaptive_avg_pool3d(x * 2, 2), [(2, 3, 5, 4, 3)]),
    "layer norm": (normalize(48), [(5, 16, 48), (48,), (48,)]),
    "layer norm, weight": (normalize(3, 7), [(130, 3, 7), (3, 7)]),
    "layer norm, plain": (normalize(4100), [(3, 4100)]),
    "layer norm, permuted": (lambda x, w, b: normalize(6)(x.permute(0, 2, 3, 1), w, b), [(2, 6, 5, 4), (6,), (6,)]),
}


def gradients(f, arguments, dtype, backend=None):
    """Of f, with a smooth loss; what autograd computes with f compiled or not."""
    arguments = [a.detach().to(dtype).requires_grad_() for a in arguments]
    y = (f if backend is None else torch.compile(f, backend=backend))(*arguments)
    return torch.autograd.grad((y.float() if dtype == torch.bfloat16 else y).pow(3).mean(), arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_against_float64(name, dtype):
    f, shapes = GRADIENTS[name]
    torch._dynamo.reset()
    tuyere.clear_reports()
    arguments = [torch.randn(shape).to(dtype) for shape in shapes]
    exact = gradients(f, arguments, torch.float64)
    for got, eager, want in zip(gradients(f, arguments, dtype, "tuyere"), gradients(f, arguments, dtype), exact, strict=True):
        assert_close(got, eager, want, name)
    assert [(r.num_engines, r.num_hosted, r.num_outside) for r in tuyere.reports()] == [(1, 0, 0)] * 2


class Recomputed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.block = torch.nn.Sequential(Attention(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 16), torch.nn.ReLU())

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.block, x, use_reentrant=False).sum(1)


def test_activation_checkpointing():
    """The forward pass runs again for the gradients, with the random numbers of the first time."""
    model, x, gradients = Recomputed(), torch.randn(2, 5, 16), []
    for backend in ("aot_eager", "tuyere"):
        torch._dynamo.reset()
        torch.manual_seed(3)
        model.zero_grad()
        torch.compile(model, backend=backend)(x).square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for want, got in zip(*gradients, strict=True):
        assert close(got, want, 1e-4)


def test_sizes_known_at_run_time():
    """Also where a block is computed again, whose sizes are then those of values inside of it."""
    torch._dynamo.reset()
    model = Recomputed()
    model.block[1].p = 0.0
    other = copy.deepcopy(model)
    compiled = torch.compile(model, backend="tuyere", dynamic=True)
    for size in ((2, 5), (4, 3), (3, 7)):
        x = torch.randn(*size, 16)
        model.zero_grad(), other.zero_grad()
        compiled(x).square().mean().backward()
        other(x).square().mean().backward()
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            assert close(p.grad, q.grad, 1e-4)


def losses(model, call, images, labels, steps, autocast):
    """Losses of the first steps of Adam with a fixed order of batches and fixed random numbers."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    out = []
    torch.manual_seed(5)
    for step in range(steps):
        batch = slice(step * 32 % 1536, step * 32 % 1536 + 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = torch.nn.functional.cross_entropy(call(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return out


@pytest.mark.parametrize("autocast,bound", [(False, 1e-3), (True, 5e-2)])
def test_digits(autocast, bound):
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(data.target)
    eager = Digits()
    model = copy.deepcopy(eager)
    tuyere.clear_reports()
    want = losses(eager, eager, images, labels, 50, autocast)
    got = losses(model, torch.compile(model, backend="tuyere"), images, labels, 50, autocast)
    assert max(abs(g - w) / w for g, w in zip(got, want, strict=True)) <= bound
    assert want[-1] < 0.6 * want[0]
    assert [r.num_engines for r in tuyere.reports()] == [1, 1]  # built once: no rebuild after an optimizer step
    for (name, a), b in zip(model.named_buffers(), eager.buffers(), strict=True):
        assert close(a.float(), b.float(), max(bound, 1e-3)), name


def test_evaluation_after_training():
    """The same compiled module in eval mode uses the trained parameters and statistics."""
    model = Digits()
    compiled = torch.compile(model, backend="tuyere")
    x = torch.randn(4, 1, 8, 8)
    for _ in range(2):
        compiled(x).square().mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
