# SPDX-License-Identifier: Apache-2.0
"""Calls that are given modules instead of weights find every weight that a module has at that time."""

import collections
import copy
import functools
import gc
import importlib
import weakref

import pytest
import torch
from harness import error_of
from torch._C._dynamo.eval_frame import _debug_get_cache_entry_list
from torch.nn.utils import parametrizations, parametrize
from tuyere import rooted

backend = importlib.import_module("tuyere.backend")


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))) + x


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.register_buffer("offset", torch.randn(36))
        self.head = torch.nn.Linear(108, 5)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.flatten(1)) + self.offset[:5]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


@pytest.fixture
def runners():
    return []


@pytest.fixture
def forms(monkeypatch, runners):
    """The other forms that calls were given."""
    made = []

    def recorded(whole, runner, *args):
        found = rooted.with_roots(whole, runner, *args)
        made.extend([found.rooted] if hasattr(found, "rooted") else [])
        runners.append(weakref.ref(runner))
        return found

    monkeypatch.setattr("tuyere.step.with_roots", recorded)
    return made


def net():
    torch.manual_seed(5)
    return Net().eval()


X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def check(compiled, model, x=X):
    want = copy.deepcopy(model).double()(x.double())
    for _ in range(2):
        assert error_of(compiled(x), want) < 1e-5


def new_parameter(model):
    model.blocks[1].conv.weight = torch.nn.Parameter(torch.randn(3, 3, 3, 3))


def entry_of_parameters(model):
    model.head._parameters["bias"] = torch.nn.Parameter(torch.randn(5))


def other_dictionary_of_parameters(model):
    model.head._parameters = {"weight": torch.nn.Parameter(torch.randn(5, 108)), "bias": torch.nn.Parameter(torch.randn(5))}


def other_kind_of_dictionary(model):
    class Computed(dict):
        def __getitem__(self, key):
            return super().__getitem__(key) * 3

    model.head._parameters = Computed(weight=torch.nn.Parameter(torch.randn(5, 108)), bias=torch.nn.Parameter(torch.randn(5)))


def ordered_dictionary(model):
    entries = [("bias", torch.nn.Parameter(torch.randn(5))), ("weight", torch.nn.Parameter(torch.randn(5, 108)))]
    model.head._parameters = collections.OrderedDict(entries)


def other_attributes(model):
    model.head.__dict__ = copy.deepcopy(model.head.__dict__)
    model.head.weight.mul_(2)


def new_module(model):
    model.blocks[0].norm = torch.nn.BatchNorm2d(3).eval()
    model.blocks[0].norm.running_mean.normal_()


def new_inner_modules(model):
    model.blocks[1] = Block().eval()


def exchanged_modules(model):
    model.blocks[0].conv, model.blocks[1].conv = model.blocks[1].conv, model.blocks[0].conv


def new_data(model):
    model.head.weight.data = torch.randn(5, 108)


def data_in_place(model):
    model.blocks[0].conv.weight.data += torch.randn(3, 3, 3, 3)


def in_place(model):
    model.blocks[0].norm.running_var.mul_(3)


def buffer_replaced(model):
    model.offset = torch.randn(36)


def storage_replaced(model):
    model.head.weight.set_(torch.randn(5, 108))


def state_assigned(model):
    model.load_state_dict(Net().state_dict(), assign=True)


def state_loaded(model):
    model.load_state_dict(Net().state_dict())


def low_rank_update(model):
    model.head.weight.addmm_(torch.randn(5, 2), torch.randn(2, 108))


CHANGES = [
    new_parameter,
    entry_of_parameters,
    other_dictionary_of_parameters,
    ordered_dictionary,
    other_attributes,
    new_module,
    new_inner_modules,
    exchanged_modules,
    new_data,
    data_in_place,
    in_place,
    buffer_replaced,
    storage_replaced,
    state_assigned,
    state_loaded,
    low_rank_update,
]


@pytest.mark.parametrize("weights", ["shared", "engine"])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(change, weights, forms):
    model = net()
    compiled = torch.compile(model, backend="tuyere", options={"strict": True, "weights": weights})
    check(compiled, model)
    before = compiled(X)
    assert len(forms) == 1 and len(forms[0].left_out) == 15
    change(model)
    check(compiled, model)
    assert error_of(compiled(X), before) > 1e-3
    change(model)
    check(compiled, model)


def test_dictionaries_with_their_own_lookup(forms):
    model, x = net(), X
    compiled = torch.compile(model, backend="tuyere")
    check(compiled, model)
    other_kind_of_dictionary(model)
    want = model(x)  # such a module cannot be copied as it is
    for _ in range(2):
        torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-4)
    assert forms


def test_a_missing_weight_is_eagers_error():
    model = net()
    compiled = torch.compile(model, backend="tuyere")
    check(compiled, model)
    weight = model.head._parameters.pop("weight")
    with pytest.raises(AttributeError, match="weight"):
        compiled(X)
    model.head.weight = weight
    check(compiled, model)


def test_modules_of_one_class_share_a_graph(forms):
    first, second = net(), Net().eval()
    calls = [torch.compile(m, backend="tuyere") for m in (first, second)]
    for _ in range(2):
        for call, model in zip(calls, (first, second)):
            check(call, model)
    second.head = first.head
    check(calls[1], second)
    assert len(forms) == 1 and len(_debug_get_cache_entry_list(Net.forward.__code__)) == 1


def test_modules_that_functions_close_over(forms):
    first, second = net(), net()
    second.head.bias.add_(1)
    places = {"second": second}

    def function(x, scale):
        return first(x) * scale + places["second"](x)

    compiled = torch.compile(function, backend="tuyere")

    def compare():
        scale = torch.full((1,), 2.0)
        torch.testing.assert_close(compiled(X, scale), function(X, scale), rtol=1e-4, atol=1e-4)

    compare()
    compare()
    assert len(forms) == 1 and len(forms[0].roots) == 2
    places["second"] = first
    compare()
    first.head.weight.mul_(2)
    compare()


def test_functional_calls_and_parametrizations():
    model = net()
    state = {n: torch.randn_like(t) for n, t in model.named_parameters()}
    compiled = torch.compile(model, backend="tuyere")
    check(compiled, model)
    want = torch.func.functional_call(model, state, (X,))
    torch.testing.assert_close(torch.func.functional_call(compiled, {f"_orig_mod.{n}": t for n, t in state.items()}, (X,)), want, rtol=1e-3, atol=1e-3)
    check(compiled, model)
    parametrizations.weight_norm(model.head)
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-4, atol=1e-4)
    model.head.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-4, atol=1e-4)
    parametrize.remove_parametrizations(model.head, "weight")
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-4, atol=1e-4)


def test_modules_with_attributes_of_their_own():
    class Own(Net):
        def __getattribute__(self, name):
            return super().__getattribute__(name)

    model = Own().eval()
    compiled = torch.compile(model, backend="tuyere")
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-4, atol=1e-4)
    model.head.weight.mul_(2)
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-4, atol=1e-4)


def test_wrapped_functions_get_every_weight(forms):
    """What a back end around ours returns may look at its arguments."""
    counts = []

    def around(gm, inputs):
        compiled = backend.tuyere(gm, inputs)

        @functools.wraps(compiled)
        def call(*args):
            counts.append(len(args))
            return compiled(*args)

        return call

    model = net()
    check(torch.compile(model, backend=around), model)
    assert len(forms) == 1 and set(counts) == {16}


def test_gradients_and_observers_take_the_whole_way(forms):
    model = net().requires_grad_(False)
    compiled = torch.compile(model, backend="tuyere")
    check(compiled, model)
    with torch.profiler.profile() as profile:
        compiled(X)
    assert any("tuyere::execute" in event.key for event in profile.key_averages())
    with torch.enable_grad():
        check(compiled, model)


def test_nothing_is_kept_alive(forms, runners):
    """Neither modules that were replaced nor, after a reset, graphs."""
    model = net()
    compiled = torch.compile(model, backend="tuyere", options={"weights": "engine"})
    check(compiled, model)
    old = weakref.ref(model.head)
    model.head = torch.nn.Linear(108, 5)
    check(compiled, model)
    gc.collect()
    assert old() is None and forms
    del compiled
    forms.clear()
    torch._dynamo.reset()
    gc.collect()
    assert runners and not any(runner() for runner in runners)
