# SPDX-License-Identifier: Apache-2.0
"""Branches that become one convolution: what they compute, and after their weights changed."""

import copy

import pytest
import torch
import tuyere


class Branches(torch.nn.Module):
    """As in RepVGG: windows of 3x3 and of one pixel, and the image itself, normalized."""

    def __init__(self, channels, groups):
        super().__init__()
        self.wide = torch.nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.narrow = torch.nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(channels) for _ in range(3))
        for norm in self.norms:
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return torch.relu(self.norms[0](self.wide(x)) + self.norms[1](self.narrow(x)) + self.norms[2](x))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_results_and_changed_weights(groups):
    torch.manual_seed(0)
    model, x = Branches(8, groups).eval(), torch.randn(2, 8, 9, 7)
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        convolutions = sum(step["tactic"].split(".")[1] == "conv" for step in program.engines[0].steps)
        assert convolutions == 1

        def check():
            exact = copy.deepcopy(model).double()(x.double())
            error = (program(x) - exact).norm() / exact.norm()
            assert error < 1e-6, error

        check()
        model.narrow.weight.mul_(3)
        check()
        model.norms[2].weight.add_(0.5)
        model.norms[0].running_mean.mul_(-2)
        check()
