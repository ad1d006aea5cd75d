# SPDX-License-Identifier: Apache-2.0
"""Ops that we do not have run in PyTorch, correctly, and the report says so."""

import pytest
import torch
import tuyere


@torch.library.custom_op("tuyere_test::odd", mutates_args=())
def odd(x: torch.Tensor) -> torch.Tensor:
    return x.flip(0) * 3


@odd.register_fake
def _(x):
    return torch.empty_like(x)


class WithCustomOp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.second(torch.relu(odd(self.first(x)) + 1))


class WithSvd(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 6)

    def forward(self, x):
        u, s, v = torch.linalg.svd(self.first(x), full_matrices=False)
        return (u * s) @ v + 1


@pytest.mark.parametrize("model,op", [(WithCustomOp, "tuyere_test::odd"), (WithSvd, "aten::_linalg_svd")])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_falls_back(model, op, device):
    torch.manual_seed(0)
    model = model().eval().to(device)
    x = torch.randn(8, model.first.in_features, device=device)
    with torch.no_grad():
        want = model(x)
        compiled = torch.compile(model, backend="tuyere")
        torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-4)
        program = tuyere.compile(model, (x,))
        torch.testing.assert_close(program(x), want, rtol=1e-4, atol=1e-4)
    for report in (tuyere.reports()[-1], program.report()):
        assert report.num_native > 0 and report.num_hosted + report.num_outside == len(report.fallbacks)
        assert any(f[0].startswith(op) and f[3] for f in report.fallbacks), report.fallbacks


@pytest.mark.parametrize("model,op", [(WithCustomOp, "tuyere_test::odd"), (WithSvd, "aten::_linalg_svd")])
def test_strict_names_the_op(model, op):
    model = model().eval()
    x = torch.randn(8, model.first.in_features)
    with torch.no_grad(), pytest.raises(Exception, match=op):
        tuyere.compile(model, (x,), strict=True)
    with torch.no_grad(), pytest.raises(Exception, match=op):
        torch.compile(model, backend="tuyere", options={"strict": True})(x)


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_run_in_torch():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    x = torch.randn(3, 8)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), run_in_torch=[torch.ops.aten.relu])
        torch.testing.assert_close(program(x), model(x))
    report = program.report()
    assert report.num_engines == 2 or report.num_hosted == 1
    assert [f[0] for f in report.fallbacks] == ["aten::relu"]


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_backward_runs():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    x = torch.randn(3, 8)
    compiled = torch.compile(model, backend="tuyere")
    compiled(x).square().sum().backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(x).square().sum().backward()
    for a, p in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_graphs_are_cut_at_hosted_ops():
    """The kernels before and after the hosted op are CUDA graphs; the op runs between them."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.before = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 6))
            self.after = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 6))

        def forward(self, x):
            return self.after(torch.linalg.svd(self.before(x), full_matrices=False)[1].expand(4, -1))

    torch.manual_seed(0)
    model, x = Model().eval().cuda(), torch.randn(8, 6, device="cuda")
    with torch.no_grad():
        program = tuyere.compile(model, (x,))
        assert program.report().num_hosted == 1
        want = model(x)
        for _ in range(8):
            torch.testing.assert_close(program(x), want, rtol=1e-4, atol=1e-4)
    assert "graph" in program.engines[0].mode and "cut at 1 host step" in program.engines[0].mode


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
def test_ops_that_cannot_be_hosted_between_native_ones():
    """The stable dispatcher has no way to call a kernel of int lists behind a schema of SymInt lists."""

    def resize(x):
        return torch.nn.functional.interpolate(x + 1, (5, 7), mode="bicubic", antialias=True) * 2

    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(resize, backend="tuyere")(x), resize(x))
