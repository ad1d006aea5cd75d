# SPDX-License-Identifier: Apache-2.0
"""The short way through a training step (tuyere.step): taken where AOTAutograd's wrappers do nothing, with the behaviour of eager or of AOTAutograd."""

import copy
import sys

import pytest
import torch
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
SHORT = "TuyereStepBackward"


class Net(torch.nn.Module):
    """Tokens [batch, 5, 8]; the results are a view, a number that has no gradient, and a scalar."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)

    def forward(self, x):
        y = self.second(torch.relu(self.first(x)))
        return y, y.argmax(-1), y.square().mean()


def pair(model=None):
    """The same module twice, the second compiled, after the step that goes through AOTAutograd."""
    torch.manual_seed(0)
    model = model or Net()
    other = copy.deepcopy(model)
    compiled = torch.compile(other, backend="tuyere")
    x = torch.randn(3, 5, 8)
    warm = compiled(x)
    assert warm[0].grad_fn.name() == "CompiledFunctionBackward"
    warm[2].backward()
    other.zero_grad()
    return model, other, compiled, x


def agree(model, other):
    for (name, p), q in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert (p.grad is None) == (q[1].grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(q[1].grad, p.grad, msg=name)
            assert q[1].grad.stride() == p.grad.stride()


def both(model, compiled, step):
    """step(function) in eager and compiled, the latter being the short way."""
    want, got = step(model), step(compiled)
    torch.testing.assert_close(got, want)


def test_results_and_gradients():
    model, other, compiled, x = pair()
    got, want = compiled(x), model(x)
    assert got[0].grad_fn.name() == SHORT and not got[0]._is_view()
    assert [t.requires_grad for t in got] == [True, False, True]
    torch.testing.assert_close(got, want)
    for out in (got, want):
        (out[0].sum() + 3 * out[2]).backward()  # the gradient of a sum is one number, expanded
    agree(model, other)


def test_accumulation_and_two_graphs_at_once():
    model, other, compiled, x = pair()
    for f in (model, compiled):
        a, b = f(x)[2], f(2 * x)[2]
        b.backward()
        a.backward()
    agree(model, other)


def test_retained_graph():
    model, other, compiled, x = pair()
    for f in (model, compiled):
        loss = f(x)[2]
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
    agree(model, other)


def test_inputs_with_gradients():
    model, other, compiled, x = pair()
    torch._dynamo.reset()

    def step(f):
        leaf = x.clone().requires_grad_()
        for _ in range(2):
            f(leaf * 2)[2].backward()
        return torch.autograd.grad(f(leaf)[0].sum(), leaf)[0], leaf.grad

    both(model, compiled, step)
    agree(model, other)


def test_hooks():
    model, other, compiled, x = pair()

    def step(f):
        seen = []
        out = f(x)
        out[2].register_hook(lambda g: g * 2)
        handle = next(f.parameters()).register_hook(lambda g: seen.append(g))
        (out[2] + out[0].sum()).backward()
        handle.remove()
        return seen

    both(model, compiled, step)
    agree(model, other)


def test_hooks_on_what_is_saved():
    model, other, compiled, x = pair()
    packed = []

    def pack(t):
        packed.append(t.shape)
        return t.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = compiled(x)
    assert packed and out[0].grad_fn.name() == SHORT
    out[2].backward()
    model(x)[2].backward()
    agree(model, other)


def test_dynamo_neither_wraps_nor_traces_a_step():
    model, other, compiled, x = pair()
    callers = []

    def pack(t):
        callers.append(sys._getframe(1).f_code.co_name)
        return t

    def refuse(t):
        raise ValueError("not this one")

    frames = torch._dynamo.utils.counters["frames"]
    before = frames["total"]
    with pytest.raises(ValueError, match="not this one"), torch.autograd.graph.saved_tensors_hooks(refuse, refuse):
        compiled(x)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        compiled(x)[2].backward()
    model(x)[2].backward()
    agree(model, other)
    assert frames["total"] == before, "a frame of a step was compiled"
    assert callers and "_fn" not in callers, "torch._dynamo.disable's wrapper is between Dynamo's code and the step"


def test_what_is_saved_must_not_be_written():
    _, other, compiled, x = pair()
    loss = compiled(x)[2]
    with torch.no_grad():
        other.second.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_without_gradients_and_frozen():
    model, other, compiled, x = pair()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    for m in (model, other):
        m.first.requires_grad_(False)
    for _ in range(2):
        for f in (model, compiled):
            f(x)[2].backward()
    agree(model, other)


def test_gradients_of_gradients_are_refused():
    _, other, compiled, x = pair()
    gradients = torch.autograd.grad(compiled(x)[2], list(other.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradients[0].sum().backward()


def test_determinism_is_asked_for_before_the_forward_pass():
    _, _, compiled, x = pair()
    loss = compiled(x)[2]
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="use_deterministic_algorithms"):
            loss.backward()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint_around(reentrant):
    model, other, compiled, x = pair()
    for f in (model, compiled):
        checkpoint(lambda t, f=f: f(t)[2], x.clone().requires_grad_(), use_reentrant=reentrant).backward()
    agree(model, other)


def test_autocast():
    model, other, compiled, x = pair()

    def step(f):
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                out = f(x)
            out[2].backward()
        return out[0].grad_fn.name(), [p.grad for p in f.parameters()]

    _, want = step(model)
    name, got = step(compiled)
    assert name == SHORT
    torch.testing.assert_close(got, want, rtol=2e-2, atol=1e-3)


def test_dynamo_does_not_trace_the_backward_pass():
    """A compiled function that calls backward() breaks there; what runs below it is none of Dynamo's business."""
    model = Net()

    def step(x):
        model(x)[2].backward()

    compiled = torch.compile(step, backend="tuyere")
    compiled(torch.randn(3, 5, 8))
    frames = torch._dynamo.utils.counters["frames"]
    before = dict(frames)
    for _ in range(3):
        compiled(torch.randn(3, 5, 8))
    assert dict(frames) == before


def test_compiled_autograd():
    model, other, compiled, x = pair()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        compiled(x)[2].backward()
    model(x)[2].backward()
    agree(model, other)


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return (self.linear(x) * self.calls,)


class Views(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(x)
        return y[:, :2], y[:, 2:], x[0]


@pytest.mark.parametrize("make", [Counter, Views])
def test_the_long_way(make):
    """Buffers that change, results that share memory."""
    torch.manual_seed(0)
    model = make()
    other = copy.deepcopy(model)
    compiled = torch.compile(other, backend="tuyere")
    x = torch.randn(3, 8)
    for _ in range(3):
        got, want = compiled(x), model(x)
        torch.testing.assert_close(got, want)
        assert SHORT not in got[0].grad_fn.name()
        for out in (got, want):
            sum(t.square().sum() for t in out).backward()
    agree(model, other)


def test_compilation_leaves_settings_of_dynamo():
    config = torch._dynamo.config
    for before in (True, False):
        torch._dynamo.reset()
        with config.patch(record_runtime_overhead=before):
            torch.compile(lambda x: x + 1, backend="tuyere")(torch.ones(3))
            assert config.record_runtime_overhead is before
            with pytest.raises(Exception, match="mode"):
                torch.compile(lambda x: x + 2, backend="tuyere", options={"mode": 3})(torch.ones(3))
            assert config.record_runtime_overhead is before
