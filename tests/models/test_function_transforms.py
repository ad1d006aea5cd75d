# SPDX-License-Identifier: Apache-2.0
"""torch.func inside of compiled code, and around compiled modules: eager's values, in one graph that is one engine."""

import copy

import pytest
import torch
import tuyere
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap


def network():
    torch.manual_seed(0)
    n = torch.nn
    return n.Sequential(n.Linear(6, 8), n.GELU(), n.LayerNorm(8), n.Linear(8, 3))


MODEL = network()
WEIGHTS = {name: 1.1 * p.detach() for name, p in MODEL.named_parameters()}


def loss(weights, x, labels):
    return torch.nn.functional.cross_entropy(functional_call(MODEL, weights, (x,)), labels)


def of_one_sample(weights, x, label):
    return loss(weights, x[None], label[None])


BASE = copy.deepcopy(MODEL).to("meta")
STACKED = {name: torch.stack([w, 2 * w, w.sin()]) for name, w in WEIGHTS.items()}


def adapted(weights, x, labels):
    """The gradients of a loss after a step along its gradients."""
    step = grad(loss)
    return grad(lambda w: loss({k: w[k] - 0.1 * g for k, g in step(w, x, labels).items()}, x, labels))(weights)


def products(x):
    return torch.tanh(x @ x.mT)


CASES = {
    "another state": lambda w, x, labels: functional_call(MODEL, w, (x,)),
    "gradients": lambda w, x, labels: grad(loss)(w, x, labels),
    "gradients of samples": lambda w, x, labels: vmap(grad(of_one_sample), (None, 0, 0))(w, x, labels),
    "gradients behind a step": adapted,
    "mapped": lambda w, x, labels: vmap(products)(x.reshape(5, 2, 3)),
    "ensemble": lambda w, x, labels: vmap(lambda own: functional_call(BASE, own, (x,)))(STACKED),
    "Jacobian, backward": lambda w, x, labels: jacrev(products)(x),
    "Jacobian, forward": lambda w, x, labels: jacfwd(products)(x),
    "Hessian": lambda w, x, labels: hessian(lambda b: loss({**w, "3.bias": b}, x, labels))(w["3.bias"]),
    "pushed forward": lambda w, x, labels: jvp(products, (x,), (x.cos(),)),
    "pulled back": lambda w, x, labels: vjp(lambda x: functional_call(MODEL, w, (x,)), x)[1](x[:, :3].sin()),
}


def leaves(tree):
    return [t for t in torch.utils._pytree.tree_leaves(tree) if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("name", CASES)
def test_inside(name):
    torch._dynamo.reset()
    tuyere.clear_reports()
    torch.manual_seed(0)
    x, labels = torch.randn(5, 6), torch.randint(0, 3, (5,))
    want = leaves(CASES[name](WEIGHTS, x, labels))
    got = leaves(torch.compile(CASES[name], backend="tuyere", fullgraph=True)(WEIGHTS, x, labels))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
    assert all((r.num_engines, r.num_hosted, r.num_outside) == (1, 0, 0) for r in tuyere.reports())


def test_around():
    """A compiled module with another state, in training too."""
    torch._dynamo.reset()
    x = torch.randn(5, 6)
    compiled = torch.compile(MODEL, backend="tuyere")
    for call, prefix in ((MODEL, ""), (compiled, "_orig_mod.")):
        weights = {prefix + name: w.clone().requires_grad_() for name, w in WEIGHTS.items()}
        y = functional_call(call, weights, (x,))
        results = [y, *torch.autograd.grad(y.square().sum(), list(weights.values()))]
        if call is MODEL:
            want = results
    torch.testing.assert_close(results, want, rtol=1e-4, atol=1e-5)
