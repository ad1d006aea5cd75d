# SPDX-License-Identifier: Apache-2.0
"""What is made on the CPU and copied to the graph's device is made there. Fake tensors: no GPU is needed."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from tuyere._compat import FakeTensorMode
from tuyere.devices import make_on_device

CUDA = torch.device("cuda:0")


def devices_after(fn, *others):
    """{operator: device} of the graph of fn(x, *others), x of shape [3, 5] on the GPU."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        gm = make_fx(fn)(torch.empty(3, 5, device=CUDA), *others)
    make_on_device(gm, {}, CUDA)
    gm.graph.lint()
    return {str(n.target).split(".")[1]: str(n.meta["val"].device) for n in gm.graph.nodes if n.op == "call_function"}


def masked(x):
    return x * (torch.arange(15) % 2 == 0).view(3, 5).to(x.device)


def filled(x):
    return x + torch.full((5,), 2.0, dtype=torch.float32).to(x.device)


def counted(x):
    return torch.ones(x.shape[0], 5).cumsum(0).to(x.device, torch.int64) + x


@pytest.mark.parametrize("fn", [masked, filled, counted])
def test_constants_move(fn):
    found = devices_after(fn)
    assert set(found.values()) == {"cuda:0"}, found


def test_random_numbers_stay():
    assert devices_after(lambda x: x + torch.rand(5).to(x.device))["rand"] == "cpu"


def test_inputs_stay():
    with FakeTensorMode():
        other = torch.empty(5)
    assert devices_after(lambda x, y: x + y.neg().to(x.device), other)["neg"] == "cpu"


def test_what_the_cpu_needs_too_stays():
    """The sum is wanted on the CPU: only its copy moves."""

    def fn(x):
        steps = torch.arange(5) + 1
        return x + steps.to(x.device), steps

    with FakeTensorMode():
        gm = make_fx(fn)(torch.empty(3, 5, device=CUDA))
    make_on_device(gm, {}, CUDA)
    assert [str(n.meta["val"].device) for n in gm.graph.nodes if n.op == "call_function" and "arange" in str(n.target)] == ["cpu", "cuda:0"]
