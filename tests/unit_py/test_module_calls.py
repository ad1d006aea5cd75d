# SPDX-License-Identifier: Apache-2.0
"""Modules that torch.compile returned are called as PyTorch does it."""

import inspect

import pytest
import torch
from torch._dynamo import eval_frame
from torch.nn.modules.module import register_module_forward_hook
from tuyere import _compat_calls  # whose calls replace PyTorch's


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x, scale=1.0, *, shift=0.0):
        if x.dim() == 3:
            raise ValueError("three dimensions")
        return self.layer(x) * scale + shift


@pytest.fixture
def compiled():
    torch._dynamo.reset()
    with torch.no_grad():
        yield torch.compile(Net().eval(), backend="eager")


X = torch.ones(2, 4)


def test_this_pytorch_is_known():
    assert not hasattr(eval_frame.OptimizedModule.__call__, "__code__")


def test_arguments(compiled):
    model = compiled._orig_mod
    torch.testing.assert_close(compiled(X, 2.0, shift=1.0), model(X, 2.0, shift=1.0))
    torch.testing.assert_close(compiled(x=X), model(X))
    torch.testing.assert_close(eval_frame.OptimizedModule.__call__(compiled, X), model(X))
    with pytest.raises(TypeError):
        compiled()
    with pytest.raises(TypeError):
        eval_frame.OptimizedModule.__call__()


def test_hooks_of_one_module(compiled):
    want = compiled._orig_mod(X)
    handle = compiled.register_forward_hook(lambda module, args, out: out * 2)
    torch.testing.assert_close(compiled(X), want * 2)
    handle.remove()
    torch.testing.assert_close(compiled(X), want)


def test_hooks_of_all_modules(compiled):
    want = compiled._orig_mod(X)
    handle = register_module_forward_hook(lambda module, args, out: out * 2 if type(module) is eval_frame.OptimizedModule else None)
    with pytest.warns(UserWarning, match="global hooks"):
        torch.testing.assert_close(compiled(X), want * 2)
    handle.remove()
    torch.testing.assert_close(compiled(X), want)


def test_calls_are_known_to_be_under_way(compiled):
    seen = []
    compiled.forward = lambda x: seen.append(eval_frame._is_in_optimized_module())
    compiled(X)
    assert seen == [True] and not eval_frame._is_in_optimized_module()


def test_errors_end_the_call(compiled):
    with pytest.raises(ValueError, match="three dimensions"):
        compiled(torch.ones(2, 2, 4))
    assert not eval_frame._is_in_optimized_module()
    torch.testing.assert_close(compiled(X), compiled._orig_mod(X))


def test_methods_that_others_replace_are_called(compiled, monkeypatch):
    seen, call = [], torch.nn.Module.__call__

    def counted(module, *args, **kwargs):
        seen.append(type(module))
        return call(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    compiled(X)
    assert eval_frame.OptimizedModule in seen


def test_modules_compiled_in_place(compiled):
    model = compiled._orig_mod
    model.compile(backend="eager")
    torch.testing.assert_close(compiled(X), model.forward(X))
    compiled._compiled_call_impl = lambda x: x
    assert compiled(X) is X


def test_signatures_are_those_of_pytorch(compiled):
    kinds = [p.kind for p in inspect.signature(compiled).parameters.values()]
    assert kinds == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    assert list(inspect.signature(type(compiled)).parameters) == ["mod", "dynamo_ctx"]


def test_methods_that_are_not_known_stay():
    class Other:
        __call__ = len

    class Longer:
        def __call__(self, *args):
            return print(*args)

    for kind in (Other, Longer):
        assert _compat_calls._without_frames(kind) is kind.__call__
