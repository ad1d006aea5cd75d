# SPDX-License-Identifier: Apache-2.0
"""Recurrent modules: whole in engines for inference on the CPU."""

import copy

import pytest
import torch
import tuyere
from torch import nn

KINDS = ["LSTM", "GRU", "RNN"]


def flat(results):
    """(output, state or states) as a list of tensors."""
    output, states = results
    return [output, *(states if isinstance(states, tuple) else [states])]


def cast(states, dtype):
    return tuple(s.to(dtype) for s in states) if isinstance(states, tuple) else states.to(dtype)


def first_states(kind, *shape):
    return (torch.randn(shape), torch.randn(shape)) if kind == "LSTM" else torch.randn(shape)


def error(results, exact):
    return max(((a.double() - b).norm() / b.norm()).item() for a, b in zip(results, exact))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_states_and_errors(kind, dtype, directions, batch_first):
    """As exact as eager's, in one engine."""
    exact = getattr(nn, kind)(20, 49, 2, batch_first=batch_first, bidirectional=directions == 2, bias=directions == 1 or batch_first).eval().double()
    model, x, states = copy.deepcopy(exact).to(dtype), torch.randn(5, 7, 20), first_states(kind, 2 * directions, 5 if batch_first else 7, 49)
    with torch.no_grad():
        want = flat(exact(x.double(), cast(states, torch.double)))
        eager = flat(model(x.to(dtype), cast(states, dtype)))
        torch._dynamo.reset()
        got = flat(torch.compile(model, backend="tuyere", options={"strict": True})(x.to(dtype), cast(states, dtype)))
    assert error(got, want) <= 1.2 * error(eager, want)
    assert [t.stride() for t in got] == [t.stride() for t in eager]
    report = tuyere.reports()[-1]
    assert report.num_engines == 1 and report.num_outside == 0
    assert any("recurrent" in layer["tactic"] for layer in report.engines[-1]["layers"])


@pytest.mark.parametrize("kind", KINDS)
def test_exported_and_scripted(kind):
    """Sizes of batch and time may be dynamic, and no step is unrolled."""

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.out = getattr(nn, kind)(8, 12, bidirectional=True, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            return self.out(self.layers(x)[0])

    model, x = Tagger().eval(), torch.randn(3, 6, 8)
    sizes = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("time", min=2, max=40)}
    with torch.no_grad():
        program = tuyere.compile(model, (x,), dynamic_shapes=(sizes,), strict=True)
        for shape in ((3, 6, 8), (1, 33, 8)):
            x = torch.randn(shape)
            torch.testing.assert_close(program(x), model(x))
        for script in (torch.jit.script(model), torch.jit.trace(model, x)):
            torch.testing.assert_close(tuyere.compile(script, (x,), strict=True)(x), model(x))
    assert tuyere.reports()[-1].num_nodes < 10


def test_states_go_from_call_to_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.GRU(8, 8)

        def forward(self, x):
            y, h = self.layers(x)
            return self.layers(y, h)

    model, x = Twice().eval(), torch.randn(4, 8)  # without a batch
    with torch.no_grad():
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="tuyere", options={"strict": True})
        for _ in range(2):
            torch.testing.assert_close(compiled(x), model(x))
            model.layers.weight_hh_l0.mul_(0.5)


def test_sequences_of_several_lengths_and_training_stay_in_pytorch():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layers = nn.Linear(8, 8), nn.LSTM(8, 8, batch_first=True)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
            return nn.utils.rnn.pad_packed_sequence(self.layers(packed)[0], batch_first=True)[0]

    model, x, lengths = Packed().eval(), torch.randn(3, 6, 8), torch.tensor([4, 6, 2])
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="tuyere")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, lengths), model(x, lengths))
    lstm = nn.LSTM(8, 8)
    torch._dynamo.reset()
    torch.compile(lstm, backend="tuyere")(x)[0].sum().backward()
    got, lstm.weight_hh_l0.grad = lstm.weight_hh_l0.grad, None
    lstm(x)[0].sum().backward()
    torch.testing.assert_close(got, lstm.weight_hh_l0.grad)


@pytest.mark.parametrize("change", [{"proj_size": 3}, {"dtype": torch.float64}])
def test_others_are_unrolled(change):
    model = nn.LSTM(6, 5, bidirectional=True, **change).eval()
    x = torch.randn(3, 2, 6, dtype=change.get("dtype"))
    with torch.no_grad():
        got, want = flat(tuyere.compile(model, (x,), strict=True)(x)), flat(model(x))
    torch.testing.assert_close(got, want)
    assert tuyere.reports()[-1].num_nodes > 20
