# SPDX-License-Identifier: Apache-2.0
"""What Dynamo looks at before every call of a compiled model."""

import pytest
import torch
import tuyere  # noqa: F401  (registers the back end)
from torch._C._dynamo.eval_frame import _debug_get_cache_entry_list


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


def guards_of(model):
    return [entry.guard_manager for entry in _debug_get_cache_entry_list(type(model).forward.__code__)]


def node_of(tree, module):
    """The guards of the module at L['self'] or below."""
    return next(line for line in str(tree).splitlines() if f"source={module}," in line)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 4)))

    def forward(self, x):
        return self.layers(x)


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x)


def test_modules_that_did_not_change_are_skipped_as_a_whole():
    plain, model, x = Plain().eval(), Net().eval(), torch.randn(2, 4)
    torch.compile(plain, backend="eager")(x)
    if "tag_safe=(True, True)" not in node_of(guards_of(plain)[0], "L['self']"):
        pytest.skip("this PyTorch asks every parameter at every call")
    torch.compile(model, backend="tuyere")(x)
    (guards,) = guards_of(model)
    assert "tag_safe=(True, True)" in node_of(guards, "L['self']")
    assert guards.check({"self": model, "x": x})


def test_changes_below_a_sequential_are_seen():
    model, x = Net().eval(), torch.randn(2, 4)
    compiled = torch.compile(model, backend="tuyere")

    def check(tolerance=1e-5):
        torch.testing.assert_close(compiled(x), model(x), rtol=tolerance, atol=tolerance)

    for _ in range(3):
        check()
    model.layers[1][1].weight = torch.nn.Parameter(torch.randn(4, 4))
    check()
    model.layers[1][1] = torch.nn.Linear(4, 6)
    check()
    model.layers[1].append(torch.nn.Tanh())
    check()
    model.layers[0].forward = lambda x: x * 2
    check()
    model.layers[1] = torch.nn.ModuleList([torch.nn.Identity()])[0]
    check()
    assert len(guards_of(model)) > 3


class Asks(torch.nn.Module):
    def forward(self, x):
        return x * 2 if hasattr(self, "extra") else x + 1


def test_attributes_of_one_module_are_asked_for():
    model, x = Asks(), torch.randn(2, 4)
    model.extra = lambda: None
    compiled = torch.compile(model, backend="tuyere")
    torch.testing.assert_close(compiled(x), x * 2)
    del model.extra
    torch.testing.assert_close(compiled(x), x + 1)
