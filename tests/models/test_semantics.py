# SPDX-License-Identifier: Apache-2.0
"""What a compiled function keeps of eager besides its values: strides, aliases, writes to inputs, random numbers, dynamic sizes, threads."""

import threading

import pytest
import torch
import tuyere

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
CONV = torch.nn.Conv2d(6, 8, 3, padding=1).eval()


def compiled(fn, **options):
    return torch.compile(fn, backend="tuyere", options=options)


ORDERS = {
    "transposed": (lambda x: x.t() + 1, lambda: torch.randn(4, 6)),
    "transposed product": (lambda x: (x @ x.t()).t(), lambda: torch.randn(4, 6)),
    "permuted": (lambda x: (x + 1).permute(2, 0, 1), lambda: torch.randn(2, 3, 4)),
    "transposed input": (lambda x: x * 2 + 1, lambda: torch.randn(6, 4).t()),
    "convolution": (CONV, lambda: torch.randn(2, 6, 5, 5)),
    "channels-last": (CONV, lambda: torch.randn(2, 6, 5, 5).to(memory_format=torch.channels_last)),
    "channels-last pool": (lambda x: torch.nn.functional.max_pool2d(x, 2), lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)),
    "channels-last roll": (lambda x: x.roll((1, 2), (2, 3)), lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)),
    "channels-last roll by nothing": (lambda x: x.roll((1, 6), (2, 1)), lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)),
    "channels-last, with another diagonal": (
        lambda x: x.diagonal_scatter(x.diagonal() * 2),
        lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last),
    ),
    "part of a channels-last image, rolled": (lambda x: x[..., :2].roll(1, 1), lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)),
    "tokens": (lambda x: CONV(x).flatten(2).transpose(1, 2), lambda: torch.randn(2, 6, 5, 5)),
    "permuted image of a batch of one": (lambda x: CONV(x).relu().permute(0, 2, 3, 1), lambda: torch.randn(1, 6, 5, 5)),
    "transposed, of size one": (lambda x: (x * 2).transpose(1, 2), lambda: torch.randn(2, 3, 1)),
    "transposed, of a batch of one": (lambda x: (x * 2).transpose(1, 2), lambda: torch.randn(1, 3, 4)),
    "windows of a permuted tensor": (lambda x: x.movedim(0, -1).unfold(1, 2, 1).abs(), lambda: torch.randn(2, 3, 6)),
    "windows behind a permutation": (lambda x: (x.permute(1, 0) * 2).unfold(0, 4, 1) * 3, lambda: torch.randn(6, 9)),
    "overlapping windows": (lambda x: x.sigmoid().unfold(-1, 3, 1), lambda: torch.randn(4, 6)),
    "one of overlapping windows": (lambda x: x.exp().unfold(0, 2, 1).select(1, 0), lambda: torch.randn(4, 6)),
    "permuted image": (lambda x: CONV(x).relu().permute(0, 2, 3, 1), lambda: torch.randn(2, 6, 5, 5)),
    "every other column": (lambda x: (x + 1)[:, 1::2], lambda: torch.randn(4, 6)),
    "expanded": (lambda x: x.sum(1).unsqueeze(1).expand(-1, 5), lambda: torch.randn(4, 6)),
    "half of the columns": (lambda x: x.exp().chunk(2, 1)[1], lambda: torch.randn(4, 6)),
    "part of a channels-last image": (lambda x: CONV(x)[:, 2:4], lambda: torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)),
}


DECIDED_BY_SIZES = {"channels-last roll by nothing"}  # whether a step is a multiple of the size: one graph for all sizes has one order


@pytest.mark.parametrize("name, dynamic", [(n, d) for n in ORDERS for d in (None, True) if not (d and n in DECIDED_BY_SIZES)])
def test_strides(name, dynamic):
    fn, data = ORDERS[name]
    x = data()
    with torch.no_grad():
        want, got = fn(x), torch.compile(fn, backend="tuyere", dynamic=dynamic, options={"strict": True})(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert got.stride() == want.stride()


@pytest.mark.parametrize("name", ORDERS)
def test_strides_in_training(name):
    """Of all steps: the first goes through AOTAutograd's own function."""
    fn, data = ORDERS[name]
    step = compiled(fn, strict=True)
    for _ in range(3):
        x = data().requires_grad_()
        want, got = fn(x), step(x)
        assert got.stride() == want.stride()
        got.square().mean().backward()


def views(x):
    y = x.tanh()
    return y, y[:, ::2], y.unfold(0, 2, 1), y.view(-1)[: x.shape[0]], y.sum(1).expand(3, -1), x.flatten()


@pytest.mark.parametrize("dynamic", [None, True])
def test_outputs_are_views(dynamic):
    """Of what they are views of in eager, with sizes that are known or not; nothing of it runs beside the engine."""
    tuyere.clear_reports()
    compiled_views = torch.compile(views, backend="tuyere", dynamic=dynamic)
    with torch.no_grad():
        for shape in ((4, 6), (3, 8), (4, 6)):
            x = torch.randn(shape)
            for got, want in zip(compiled_views(x), views(x), strict=True):
                torch.testing.assert_close(got, want)
                assert (got.stride(), got.storage_offset(), got._is_view()) == (want.stride(), want.storage_offset(), want._is_view())
        whole, columns = compiled_views(x)[:2]
        whole.zero_()
        assert not columns.any()
    assert all((r.num_engines, r.num_outside) == (1, 0) for r in tuyere.reports())


SCALE = torch.nn.Parameter(torch.randn(6))

VIEWS_OF_INPUTS = {
    "a part of the columns": lambda x: (x * SCALE, x.chunk(2, 1)[0]),
    "the second half": lambda x: (x * SCALE, x.detach().chunk(2, 0)[1]),
    "transposed": lambda x: (x * SCALE, x.mT.chunk(2, -1)[1]),
    "expanded": lambda x: (x * SCALE, x[:1].expand(3, *x.shape)),
    "flat": lambda x: (x * SCALE, x.view(-1)[x.shape[0] :]),
    "written before": lambda x: (x.mul_(2).chunk(2, 0)[1], x * SCALE),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", VIEWS_OF_INPUTS)
def test_views_of_inputs_of_any_size(name, grad):
    """AOTAutograd makes these of the input, with the sizes, strides and offset of what our graph returns."""
    fn = VIEWS_OF_INPUTS[name]
    compiled_views = torch.compile(fn, backend="tuyere", dynamic=True)
    with torch.set_grad_enabled(grad):
        for rows in (4, 7, 5):
            x = torch.randn(rows, 6)
            own = x.clone()
            for got, want in zip(compiled_views(own), fn(x), strict=True):
                torch.testing.assert_close(got, want)
                assert (got.stride(), got.storage_offset()) == (want.stride(), want.storage_offset())
                assert (got.untyped_storage().data_ptr() == own.untyped_storage().data_ptr()) == (
                    want.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
                )


def test_graphs_behind_views():
    """Guards look at strides: a graph that is given its own output with gaps is compiled as often as with eager."""
    counts = []
    for backend in ("eager", "tuyere"):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        step, x = torch.compile(lambda x: (x * 2).repeat(1, 2)[:, ::2], backend=backend), torch.randn(8, 8)
        with torch.no_grad():
            for _ in range(3):
                x = step(x)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts == [2, 2]


def test_exported_strides():
    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = CONV

        def forward(self, x):
            return self.conv(x).flatten(2).transpose(1, 2), x.permute(3, 0, 2, 1) + 1, (x[:, :1] * 2).permute(0, 2, 3, 1)

    model, x = Tokens(), torch.randn(2, 6, 5, 5)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        x = torch.randn(3, 6, 5, 5)
        for got, want in zip(program(x), model(x), strict=True):
            assert got.stride() == want.stride()


@pytest.mark.parametrize(
    "module", [torch.nn.Dropout(0.5), torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Dropout(0.3), torch.nn.ReLU(), torch.nn.Dropout(0.3))]
)
def test_dropout_draws_eager_numbers(module):
    x = torch.randn(5, 6)
    for grad in (False, True):
        torch._dynamo.reset()
        with torch.set_grad_enabled(grad):
            torch.manual_seed(3)
            want = module(x)
            torch.manual_seed(3)
            call = compiled(module)
            torch.testing.assert_close(call(x), want)
            assert not torch.equal(call(x), want)  # new numbers at each call


class Attention(torch.nn.Module):
    """Sizes computed from sizes, views and slices with symbolic sizes."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(16, 48), torch.nn.Linear(16, 16)
        self.register_buffer("position", torch.randn(64, 16))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x + self.position[:length]).chunk(3, -1)
        heads = [t.view(batch, length, 4, width // 4).transpose(1, 2) for t in (q, k, v)]
        mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        y = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask)
        y = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return y.flatten(0, 1).tanh(), y.mean(1), torch.cat([y, x], 1).reshape(batch * length * 2, -1)


SIZES = [(1, 1), (1, 9), (3, 1), (5, 12), (2, 33)]


def test_one_export_serves_all_sizes():
    model = Attention().eval()
    sizes = {0: torch.export.Dim("batch", min=1, max=128), 1: torch.export.Dim("length", min=1, max=64)}
    with torch.no_grad():
        program = tuyere.compile(model, (torch.randn(2, 7, 16),), dynamic_shapes=(sizes,), strict=True)
        for size in SIZES:
            x = torch.randn(*size, 16)
            for got, want in zip(program(x), model(x), strict=True):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert program.report().num_engines == 1


def test_marked_dims_build_once():
    model = Attention().eval()
    call = compiled(model, strict=True)
    tuyere.clear_reports()
    with torch.no_grad():
        for size in [(2, 7), (5, 12), (2, 33), (7, 5)]:
            x = torch.randn(*size, 16)
            torch._dynamo.mark_dynamic(x, (0, 1))
            for got, want in zip(call(x), model(x), strict=True):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert len(tuyere.reports()) == 1


DATA_DEPENDENT = {
    "nonzero": lambda x: (x > 0).nonzero() * 2,
    "mask": lambda x: (x + 1)[x > 0] * 2,
    "masked_select": lambda x: torch.masked_select(x + 1, x > 0).sum() + 1,
    "masked_scatter": lambda x: x.masked_scatter(x > 0, torch.masked_select(x, x > 0) * 2),
    "unique": lambda x: torch.unique((x * 2).long()) + 1,
    "item": lambda x: x + x.sum().item(),
}


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_sizes_that_depend_on_data(name, capture):
    fn = DATA_DEPENDENT[name]
    with torch.no_grad(), torch._dynamo.config.patch(capture_dynamic_output_shape_ops=capture, capture_scalar_outputs=capture):
        call = compiled(fn)
        for _ in range(3):
            x = torch.randn(4, 6)
            torch.testing.assert_close(call(x), fn(x))


def rows(*lengths):
    return torch.nested.nested_tensor([torch.randn(length, 16) for length in lengths], layout=torch.jagged)


@pytest.mark.parametrize("grad", [False, True])
def test_nested_tensors(grad):
    model = torch.nn.Sequential(torch.nn.LayerNorm(16), torch.nn.Linear(16, 8), torch.nn.GELU())
    call, sums = compiled(model), compiled(lambda x: (x * 2).sum(1))
    with torch.set_grad_enabled(grad):
        for lengths in [(3, 5), (2, 4, 1), (7, 1)]:
            x = rows(*lengths)
            got, want = call(x), model(x)
            torch.testing.assert_close(got.offsets(), want.offsets())
            torch.testing.assert_close((got.values(), sums(x)), (want.values(), (x * 2).sum(1)), rtol=1e-4, atol=1e-5)
            if grad:
                weights = list(model.parameters())
                grads = [torch.autograd.grad(out.values().sin().sum(), weights) for out in (got, want)]
                torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_threads_compile_at_once():
    def work(k, results):
        model = torch.nn.Sequential(torch.nn.Linear(8, 8 + k), torch.nn.GELU(), torch.nn.Linear(8 + k, 3)).eval()
        x = torch.randn(4, 8)
        with torch.no_grad():
            results[k] = bool(torch.allclose(tuyere.compile(model, (x,), strict=True)(x), model(x), rtol=1e-4, atol=1e-5))

    results = {}
    threads = [threading.Thread(target=work, args=(k, results)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == dict.fromkeys(range(4), True)


def test_repeated_compile():
    model, x = torch.nn.Linear(6, 3).eval(), torch.randn(2, 6)
    with torch.no_grad():
        for _ in range(5):
            torch._dynamo.reset()
            torch.testing.assert_close(compiled(model)(x), model(x))


def test_depthwise_on_the_tokens_of_one_image():
    """A view of tokens as a channels-last image of batch 1 has a batch stride that says nothing."""
    conv = torch.nn.Conv2d(16, 16, 3, padding=1, groups=16).eval()

    def mix(x):
        return conv(x.transpose(1, 2).view(1, 16, 8, 8)).flatten(2).transpose(1, 2) + 1

    x = torch.randn(1, 64, 16)
    with torch.no_grad():
        torch.testing.assert_close(compiled(mix, strict=True)(x), mix(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_fills_of_expanded_memory(grad):
    """Elements of an expanded tensor share memory: a fill of some is one of all."""

    def fill(x):
        y = (x * 2).expand(3, *x.shape)
        y[1:].fill_(2)
        return y + 1, y

    x = torch.randn(4, requires_grad=grad)
    for got, want in zip(compiled(fill)(x), fill(x), strict=True):
        torch.testing.assert_close(got, want)
    assert "share" in tuyere.reports()[-1].fallbacks[0][3]
    with pytest.raises(Exception, match="share"):
        compiled(fill, strict=True)(x)
