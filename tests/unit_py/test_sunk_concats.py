# SPDX-License-Identifier: Apache-2.0
"""Norms and activations behind branches that are concatenated: part of the branches, what they compute, and after their weights changed."""

import copy

import pytest
import torch
import tuyere


class Mixed(torch.nn.Module):
    """As in MixNet: windows of several sizes over parts of the channels, normalized together."""

    def __init__(self):
        super().__init__()
        self.windows = torch.nn.ModuleList(torch.nn.Conv2d(n, n, k, padding=k // 2, groups=n, bias=False) for n, k in ((16, 3), (24, 5)))
        self.norm = torch.nn.BatchNorm2d(40)
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        parts = [window(part) for window, part in zip(self.windows, x.split([16, 24], 1))]
        return torch.nn.functional.silu(self.norm(torch.cat(parts, 1)))


@pytest.mark.parametrize("dtype,bound", [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_results_and_changed_weights(dtype, bound):
    torch.manual_seed(0)
    model, x = Mixed().eval().to(dtype), torch.randn(2, 40, 9, 7, dtype=dtype)
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        assert not any("pointwise" in step["tactic"] and "silu" in step["problem"] for step in program.engines[0].steps)

        def check():
            exact = copy.deepcopy(model).double()(x.double())
            error = (program(x) - exact).norm() / exact.norm()
            assert error < bound, error

        check()
        model.norm.weight.mul_(3)
        check()
        model.norm.running_mean[20:].mul_(-2)
        model.windows[0].weight.add_(0.5)
        check()
