# SPDX-License-Identifier: Apache-2.0
"""Changed weights are used at the next call."""

import copy
import gc

import pytest
import torch
import tuyere
from harness import error_of
from tuyere import data_writes


def small():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5)
    ).eval()


def change_by_load(model):
    other = small()
    for p in other.parameters():
        p.data.normal_()
    model.load_state_dict(other.state_dict())


def change_in_place(model):
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)


def change_by_replacement(model):
    model[4].weight = torch.nn.Parameter(torch.randn_like(model[4].weight))


def change_data_in_place(model):
    """As LoRA merges do."""
    for p in model.parameters():
        p.data += torch.randn_like(p)


def change_data_twice(model):
    alias = model[4].weight.data
    alias[0].mul_(2)
    model[0].weight.data.view(-1)[3:9] = 1


def change_by_swap(model):
    for owner, name in ((model[0], "weight"), (model[1], "running_mean"), (model[4], "bias")):
        tensor = getattr(owner, name)
        torch.utils.swap_tensors(tensor, type(tensor)(torch.rand_like(tensor) + 1))


def change_by_swapping_load(model):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        change_by_load(model)
        model.to(torch.float64).to(torch.float32)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


CHANGES = [change_by_load, change_in_place, change_by_replacement, change_data_in_place, change_data_twice]
SWAPS = [change_by_swap, change_by_swapping_load]  # which PyTorch refuses for the parameters of modules that it exported


@pytest.mark.parametrize("change", CHANGES + SWAPS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_changed_weights_are_used(change, device):
    model, x = small().to(device), torch.randn(2, 3, 6, 6, device=device)
    compiled = torch.compile(model, backend="tuyere", options={"strict": True})
    with torch.no_grad():
        compiled(x)
        change(model)
        want = copy.deepcopy(model).double()(x.double())
        assert error_of(compiled(x), want) < 1e-5


def test_refit_of_a_program():
    model, x = small(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True)
        program(x)
        change_in_place(model)
        engine = program.engines[0]
        engine.refit({n: t for n, t in model.state_dict().items() if n in engine.refittable()})
        assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5


def test_weights_that_were_swapped_back():
    """Whatever addresses and versions they have: a swap is a change, and writes afterwards are others."""
    model, x = torch.nn.Linear(6, 4).eval(), torch.randn(3, 6)
    compiled = torch.compile(model, backend="tuyere", options={"strict": True})
    with torch.no_grad():
        compiled(x)
        alias = model.weight.data
        for _ in range(3):
            torch.utils.swap_tensors(model.weight, torch.nn.Parameter(torch.randn(4, 6)))
            torch.testing.assert_close(compiled(x), model(x))
            alias.zero_()  # the weight's no longer
            torch.testing.assert_close(compiled(x), model(x))
            alias = model.weight.data
            alias += 1
            torch.testing.assert_close(compiled(x), model(x))
        del alias
        torch.utils.swap_tensors(model.weight, torch.nn.Parameter(torch.randn(4, 6)))
        model.weight.data.mul_(2)
        torch.testing.assert_close(compiled(x), model(x))


def test_aliases_are_watched_while_they_live():
    """A copy of the module reads .data and leaves nothing behind; a view of an alias is one, though the alias itself is gone."""
    model, x = small(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        program(x)
        copy.deepcopy(model)
        assert not data_writes._written
        row = model[4].weight.data[0]
        gc.collect()
        for factor in (2.0, 3.0):
            row.mul_(factor)
            assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5
        model[4].weight.data = model[4].weight.data  # the same memory: the view writes to the weight as before
        row.mul_(4.0)
        assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5
        row.mul_(5.0)
        del row  # before the next call
        assert not data_writes._written
        assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5


def test_data_of_watched_parameters_is_as_before():
    """Other parameters keep PyTorch's own .data; a written alias shows in the version, so that engines see it."""
    model, x, other = small(), torch.randn(2, 3, 6, 6), torch.nn.Parameter(torch.randn(3))
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        want = program(x)
        weight = model[4].weight
        data, version = weight.data, weight._version
        assert data.data_ptr() == weight.data_ptr() and not data.requires_grad and type(data) is torch.Tensor
        assert torch.equal(program(x), want) and weight._version == version
        data.zero_()
        other.data.zero_()
        assert other._version == 0 and not weight.any()
        assert not torch.equal(program(x), want) and weight._version > version
        weight.data = torch.ones(5, 288, dtype=torch.float32)
        assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5
