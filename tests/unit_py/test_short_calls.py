# SPDX-License-Identifier: Apache-2.0
"""Calls of graphs without gradients go past AOTAutograd's wrappers where these have nothing to do."""

import importlib

import pytest
import torch
from tuyere import step

backend = importlib.import_module("tuyere.backend")


@pytest.fixture
def wrapped(monkeypatch):
    """How often AOTAutograd's function was called."""
    calls = []

    def counting(whole, parts, inputs):
        def counted(*args):
            calls.append(len(args))
            return whole(*args)

        return step.short_call(counted, parts, inputs)

    monkeypatch.setattr(backend, "short_call", counting)
    torch._dynamo.reset()
    return calls


def same(function, *args):
    compiled = torch.compile(function, backend="tuyere")
    for _ in range(2):
        torch.testing.assert_close(compiled(*args), function(*args))
    return compiled


def test_plain_graphs_are_called_directly(wrapped):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        compiled = same(model, x)
        model[0].weight.mul_(2)
        torch.testing.assert_close(compiled(x), model(x))
    assert not wrapped


def test_gradient_mode_goes_through_the_wrappers(wrapped):
    same(torch.nn.Softmax(-1), torch.randn(4, 5))  # nothing needs a gradient, but the mode is on
    assert wrapped


def test_written_and_aliased_tensors_go_through_the_wrappers(wrapped):
    def write(x):
        x.add_(1)
        return x * 2

    def alias(x):
        return x.view(-1), x + 1, x

    with torch.no_grad():
        x, y = torch.zeros(3), torch.zeros(3)
        torch.testing.assert_close(torch.compile(write, backend="tuyere")(x), write(y))
        torch.testing.assert_close(x, y)
        view, _, itself = same(alias, y)(y)
        assert itself is y and view.data_ptr() == y.data_ptr()
    assert len(wrapped) == 4


def test_autocast_goes_through_the_wrappers(wrapped):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        same(torch.nn.Linear(8, 8), torch.randn(2, 8))
    assert wrapped
