# SPDX-License-Identifier: Apache-2.0
"""torch.cond and while_loop inside one engine."""

import pytest
import torch
import tuyere
from harness import error_of
from torch._higher_order_ops.while_loop import while_loop


class Branches(torch.nn.Module):
    """Weights in both branches, a value from outside, nested."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)

    def forward(self, x):
        shift = x.mean()

        def small(x):
            return torch.cond(shift > -10, lambda x: torch.relu(self.a(x)), lambda x: self.a(x) - 1, (x,))

        return torch.cond(x.sum() > 0, small, lambda x: torch.tanh(self.b(x)) + shift, (x,)) * 2


class Loop(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.step = torch.nn.Linear(5, 5)

    def forward(self, x, count):
        def go_on(i, x):
            return i < count

        def body(i, x):
            return i + 1, torch.tanh(self.step(x)) + x

        return while_loop(go_on, body, (torch.zeros((), dtype=torch.int64, device=x.device), x))[1]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_branches(device, dynamic):
    model = Branches().eval().to(device)
    rows = {"x": {0: torch.export.Dim("rows", min=2, max=64)}} if dynamic else None
    with torch.no_grad():
        program = tuyere.compile(model, (torch.randn(3, 6, device=device),), strict=True, dynamic_shapes=rows)
        assert program.report().num_engines == 1
        for count in (3, 7) if dynamic else (3,):
            for sign in (1, -1):
                x = sign * torch.rand(count, 6, device=device)
                assert error_of(program(x), model(x)) < 1e-5


@pytest.mark.parametrize("device", DEVICES)
def test_branches_through_torch_compile(device):
    model = Branches().eval().to(device)
    with torch.no_grad():
        compiled = torch.compile(model, backend="tuyere", fullgraph=True, options={"strict": True})
        for sign in (1, -1, 1):
            x = sign * torch.rand(3, 6, device=device)
            assert error_of(compiled(x), model(x)) < 1e-5
        with torch.no_grad():
            model.a.weight.mul_(2)
        x = torch.rand(3, 6, device=device)
        assert error_of(compiled(x), model(x)) < 1e-5


@pytest.mark.parametrize("device", DEVICES)
def test_loop(device):
    model, x = Loop().eval().to(device), torch.randn(3, 5, device=device)
    with torch.no_grad():
        program = tuyere.compile(model, (x, torch.tensor(3, device=device)), strict=True)
        for count in (3, 0, 1, 6):
            n = torch.tensor(count, device=device)
            assert error_of(program(x, n), model(x, n)) < 1e-5


def test_a_branch_that_cannot_be_converted_says_why():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: torch.linalg.qr(x)[0].contiguous(), lambda x: x + 1, (x,))

    model, x = Odd(), torch.rand(3, 3)
    with torch.no_grad(), pytest.warns(tuyere.FallbackWarning):
        program = tuyere.compile(model, (x,))
        torch.testing.assert_close(program(x), model(x))
    (reason,) = {f[3] for f in program.report().fallbacks if "cond" in f[0]}
    assert "linalg_qr" in reason
