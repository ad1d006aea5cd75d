# SPDX-License-Identifier: Apache-2.0
"""Random numbers under a seed are those of aot_eager, whatever the memory order of what they are drawn for."""

import copy
import itertools
import threading

import pytest
import torch
import tuyere

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
n = torch.nn


class Drawn(n.Module):
    """Random values in the memory order of another tensor."""

    def __init__(self, draw):
        super().__init__()
        self.linear, self.draw = n.Linear(6, 6), draw

    def forward(self, x):
        y = self.linear(x).transpose(1, 2) * 2
        return self.draw(y) * y


CASES = {
    "dropout": (lambda: n.Sequential(n.Linear(8, 16), n.ReLU(), n.Dropout(0.3), n.Linear(16, 16), n.Dropout(0.5)), (7, 8)),
    "everything": (lambda: n.Sequential(n.Linear(8, 16), n.Dropout(1.0)), (7, 8)),
    "images": (lambda: n.Sequential(n.Conv2d(3, 8, 3), n.Dropout(0.3), n.Conv2d(8, 4, 1)).to(memory_format=torch.channels_last), (2, 3, 9, 9)),
    "channels": (lambda: n.Sequential(n.Conv2d(3, 8, 3), n.Dropout2d(0.3), n.Conv2d(8, 4, 1)), (2, 3, 9, 9)),
    "transposed": (lambda: n.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True), (2, 5, 16)),
    "rand_like": (lambda: Drawn(torch.rand_like), (2, 5, 6)),
    "randint_like": (lambda: Drawn(lambda y: torch.randint_like(y, 9)), (2, 5, 6)),
    "randn_like": (lambda: Drawn(torch.randn_like), (2, 5, 6)),
    "normal": (lambda: Drawn(lambda y: y.clone().normal_(1, 2)), (2, 5, 6)),
    "uniform": (lambda: Drawn(lambda y: y.clone().uniform_(-1, 2)), (2, 5, 6)),
    "bernoulli": (lambda: Drawn(lambda y: torch.bernoulli(y.sigmoid())), (2, 5, 6)),
}


@pytest.mark.parametrize("train", [True, False], ids=["train", "no_grad"])
@pytest.mark.parametrize("case", CASES)
def test_same_numbers(case, train):
    make, shape = CASES[case]
    model, x, out = make(), torch.randn(shape), {}
    if case == "images":
        x = x.to(memory_format=torch.channels_last)
    for backend in ("aot_eager", "tuyere"):
        torch._dynamo.reset()
        mine = copy.deepcopy(model)
        compiled = torch.compile(mine, backend=backend)
        with torch.set_grad_enabled(train):
            compiled(x)
            torch.manual_seed(3)
            y = compiled(x)
            if train:
                y.square().sum().backward()
        out[backend] = [y.detach(), torch.rand(3), *(p.grad for p in mine.parameters() if train)]
    torch.testing.assert_close(out["tuyere"], out["aot_eager"], rtol=1e-4, atol=1e-5)


def by_turns(x):
    """Numbers that engines draw and others that PyTorch does, read in another order than they are drawn in."""
    first, noise = torch.dropout(x.sin(), 0.5, True).cos(), torch.randn(4, 4)
    coins, order = torch.bernoulli(first.sigmoid()), torch.randperm(4)
    return torch.dropout((x + noise).tanh(), 0.5, True).exp() + coins.cos()[order], first, torch.dropout(x.cos(), 0.2, True).sin()


def in_a_branch(x):
    first = torch.dropout(x.sin(), 0.5, True).cos()
    branch = torch.cond(x.mean() > -9, lambda x: torch.dropout(x, 0.5, True).sin(), lambda x: x.cos(), (x,))
    return first + 1, torch.rand(4), torch.dropout(branch.sin(), 0.5, True).cos()


@pytest.mark.parametrize("program", [by_turns, in_a_branch])
def test_order_of_draws(program):
    torch._dynamo.reset()
    x = torch.randn(4, 4)
    torch.manual_seed(3)
    want = [*program(x), torch.rand(3)]
    torch.manual_seed(3)
    got = [*torch.compile(program, backend="tuyere")(x), torch.rand(3)]
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("count", [1, 7, 311, 312, 313, 624, 70000])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_many_bernoulli_numbers_at_a_time(count, probability):
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    for _ in range(2):  # the second time from the middle of the generator's words
        want = torch.empty(count, dtype=torch.bool).bernoulli_(probability, generator=generators[0])
        got = torch.empty(count, dtype=torch.bool)
        tuyere._tuyere.draw_bernoulli(tuyere.draws.empty_words, generators[1], got.data_ptr(), count, probability)
        assert torch.equal(want, got)
        assert torch.equal(*(torch.randn(17, generator=g) for g in generators))  # keeps a number for the next call
        assert torch.equal(*(g.get_state() for g in generators))


def test_engines_draw_many_at_a_time():
    assert tuyere.draws.draw_many_at_a_time()


def test_threads_draw_at_once():
    """Nobody draws numbers again that another thread has drawn."""
    mask, drawn, stop = torch.compile(lambda x: torch.nn.functional.dropout(x, 0.5), backend="tuyere"), [], threading.Event()
    x = torch.ones(20000)
    mask(x)

    def draw():
        while not stop.is_set():
            drawn.append(torch.randint(2**62, (50,)))

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    masks = [mask(x) for _ in range(60)]
    stop.set()
    for thread in threads:
        thread.join()
    numbers = torch.cat(drawn)
    assert len(numbers.unique()) == len(numbers)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(masks, 2))
