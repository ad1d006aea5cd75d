# SPDX-License-Identifier: Apache-2.0
"""Weights of a Program: those of its module as they change, those of a state_dict, and what is saved."""

import copy
import gc
import weakref

import pytest
import torch
import tuyere
from harness import error_of
from test_weights import CHANGES, change_in_place, small

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")


def exact(model, x):
    return copy.deepcopy(model).double()(x.double())


def change_data(model):
    for p in model.parameters():
        p.data = torch.randn_like(p)


def other_weights():
    model = small()
    change_data(model)
    return model


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("options", [{"strict": True}, {"run_in_torch": ["aten::convolution", "aten::conv2d"]}], ids=["whole", "parts"])
def test_a_program_follows_its_module(options, device):
    model, x = small().to(device), torch.randn(2, 3, 6, 6, device=device)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), **options)
        for change in [*CHANGES, change_data]:
            change(model)
            assert error_of(program(x), exact(model, x)) < 1e-5, change.__name__


def test_nothing_is_refitted_when_nothing_changed(monkeypatch):
    model, x = small(), torch.randn(2, 3, 6, 6)
    compiled = torch.compile(model, backend="tuyere")
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        compiled(x)
        monkeypatch.setattr(tuyere.Engine, "refit", lambda *args: pytest.fail("refitted"))
        for _ in range(3):
            program(x), compiled(x)


def test_equal_modules_stay_apart(tmp_path):
    model, x = small(), torch.randn(2, 3, 6, 6)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        programs = [tuyere.compile(m, (x,), strict=True) for m in (model, twin)]
        want = programs[0](x)
        change_in_place(twin)
        assert error_of(programs[1](x), exact(twin, x)) < 1e-5
        assert torch.equal(programs[0](x), want)
        programs[0].save(tmp_path / "model.pt2")
        loaded = [tuyere.load(tmp_path / "model.pt2") for _ in range(2)]
        loaded[0].load_state_dict(twin.state_dict())
        assert torch.equal(loaded[0](x), programs[1](x))
        assert torch.equal(loaded[1](x), want)


def test_the_module_may_go():
    model, x = small(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True)
        change_in_place(model)
        want = exact(model, x)
        weight = weakref.ref(model[4].weight)
        del model
        gc.collect()
        assert weight() is None
        assert error_of(program(x), want) < 1e-5


@pytest.mark.parametrize("options", [{}, {"run_in_torch": ["aten::linear"]}], ids=["whole", "parts"])
def test_state_dicts_are_loaded_and_saved(options, tmp_path):
    model, other, x = small(), other_weights(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), **options)
        before = program(x)
        state = {name: t.clone() for name, t in model.state_dict().items()}
        assert program.load_state_dict(other.state_dict()).missing_keys == []
        assert error_of(program(x), exact(other, x)) < 1e-5
        assert all(torch.equal(t, model.state_dict()[name]) for name, t in state.items())
        program.save(tmp_path / "model.pt2")
        loaded = tuyere.load(tmp_path / "model.pt2")
        assert torch.equal(loaded(x), program(x))
        loaded.load_state_dict(state)
        assert error_of(loaded(x), before.double()) < 1e-6
        with pytest.raises(RuntimeError, match="lacks weights.*4.bias"):
            program.load_state_dict({n: t for n, t in state.items() if n != "4.bias"})


class Named(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)

    def forward(self, x, *, scale, shift=None):
        y = self.fc(x) * scale
        return {"y": y, "z": (y if shift is None else y + shift).relu()}


def test_calls_with_names():
    model = Named().eval()
    x, scale, shift = torch.randn(2, 4), torch.randn(2, 4), torch.randn(2, 4)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), kwargs={"scale": scale, "shift": shift}, strict=True)
        for got in (program(x, scale=scale, shift=shift), program(x, shift=shift, scale=scale)):
            want = model(x, scale=scale, shift=shift)
            assert list(got) == list(want)
            torch.testing.assert_close(dict(got), want)
        with pytest.raises(ValueError, match="structure"):
            program(x, scale=scale)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            program(x, scale=scale, shift=shift)
        assert any("tuyere::execute" in event.key for event in profile.key_averages())
        with pytest.raises(RuntimeError, match="shape|size"):
            program(x[:1], scale=scale, shift=shift)


def test_a_module_may_be_converted_after_its_compilation():
    model, x = small(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        want = program(x)
        model.half()
        assert torch.equal(program(x), want)
        change_in_place(model.float())
        assert error_of(program(x), exact(model, x)) < 1e-5
        model.to("meta")
        del model[4].weight
        program(x)
