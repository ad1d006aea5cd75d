# SPDX-License-Identifier: Apache-2.0
"""TorchScript in, TorchScript out: engines inside, everything else as it was."""

import copy
import subprocess
import sys
from typing import Dict, List, Optional, Tuple

import pytest
import torch
import tuyere
from harness import error_of, leaves

from benchmarks import models

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
FAST = {"optimization_level": 0}


def scripted(module):
    return torch.jit.script(module.eval())


def check(module, script, inputs, calls=None, **options):
    """Compiles `script` and compares it with the module on every call. Returns the program and its report."""
    with torch.no_grad():
        program = tuyere.compile(script, inputs, **{**FAST, **options})
        report = tuyere.reports()[-1]
        assert isinstance(program, torch.jit.ScriptModule)
        for args in calls or [inputs]:
            mine = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
            theirs = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
            got, want = program(*mine), module(*theirs)
            for g, w in zip(leaves((got, mine)), leaves((want, theirs)), strict=True):
                torch.testing.assert_close(g, w, rtol=1e-4, atol=1e-4)
    return program, report


def engines_in(program):
    return str(program.inlined_graph).count("tuyere::execute")


@pytest.mark.parametrize("how", ["trace", "script"])
def test_resnet18_is_one_engine(how):
    model, inputs = models.make("resnet18", tiny=True)
    script = torch.jit.trace(model, inputs) if how == "trace" else torch.jit.script(model)
    with torch.no_grad():
        program = tuyere.compile(script, inputs, strict=True, **FAST)
        report = tuyere.reports()[-1]
        assert (report.num_engines, report.num_hosted, report.num_outside) == (1, 0, 0) and engines_in(program) == 1
        assert not [
            n
            for n in program.inlined_graph.nodes()
            if n.kind().startswith("aten::") and n.kind() not in ("aten::dim", "aten::size", "aten::eq", "aten::__getitem__")
        ]
        want = copy.deepcopy(model).double()(*(x.double() for x in inputs))
        assert error_of(program(*inputs), want) < 1e-5
        assert "aten::_convolution" in str(script.inlined_graph) or "aten::conv2d" in str(script.inlined_graph)  # the given module is as it was


def test_bert_traced():
    model, inputs = models.make("bert", tiny=True)
    with torch.no_grad():
        script = torch.jit.trace(model, inputs, strict=False)
        program = tuyere.compile(script, inputs, strict=True, **FAST)
        want = leaves(copy.deepcopy(model).double()(*inputs))[0]
        assert tuyere.reports()[-1].num_engines == 1
        assert error_of(leaves(program(*inputs))[0], want) < 1e-5


class ControlFlow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(8, 8)

    def forward(self, x, y, rounds: int = 3):
        z = self.linear(y)
        if bool(z.sum() > 0):
            z = torch.relu(z)
        else:
            z = self.linear(z * 2)
        for k in range(rounds):
            z = torch.tanh(self.linear(z)) + k
        while bool(z.abs().max() > 1):
            z = z * 0.5
        return torch.relu_(self.norm(self.conv(x))), z


def test_control_flow_stays_around_engines():
    module = ControlFlow().eval()
    x, y = torch.randn(2, 3, 6, 6), torch.randn(5, 8)
    program, report = check(module, scripted(module), (x, y), [(x, y), (x, -y), (x, y, 0), (x, y * 3, 7)])
    graph = program.inlined_graph
    assert len(graph.findAllNodes("prim::Loop")) == 2 and graph.findAllNodes("prim::If")
    assert report.num_engines >= 5 and report.num_native > report.num_outside
    assert any("only known at run time" in reason for _, _, _, reason in report.fallbacks)


class ByRank(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(6, 6)

    def forward(self, x):
        sizes: List[int] = []
        for d in range(x.dim()):
            sizes.append(x.size(d))
        if x.dim() == 3 and len(sizes) > 2:
            x = self.linear(x.reshape(-1, sizes[-1])).reshape(sizes)
        else:
            x = self.linear(x)
        return x * sizes[0]


def test_branches_on_sizes_are_decided():
    module, x = ByRank().eval(), torch.randn(2, 3, 6)
    program, report = check(module, scripted(module), (x,), strict=True)
    assert report.num_engines == 1 and engines_in(program) == 1
    with pytest.raises(torch.jit.Error, match=r"argument 'x' must be a torch.float32 tensor of shape \(2, 3, 6\)"):
        program(torch.randn(4, 6))
    with pytest.raises(torch.jit.Error, match="float32"):
        program(x.double())


@torch.library.custom_op("tuyere_script_test::odd", mutates_args=())
def odd(x: torch.Tensor) -> torch.Tensor:
    return x.flip(0) * 3


@odd.register_fake
def _(x):
    return torch.empty_like(x)


class OddInTheMiddle(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.second(torch.relu(torch.ops.tuyere_script_test.odd(self.first(x)) + 1))


class DataInTheMiddle(OddInTheMiddle):
    def forward(self, x):
        y = self.first(x)
        kept = y[y[:, 0] > 0]
        return self.second(y), kept, torch.unique(kept)


def test_unsupported_ops_stay():
    module, x = OddInTheMiddle().eval(), torch.randn(5, 8)
    program, report = check(module, scripted(module), (x,))
    assert report.num_engines == 2 and [f[0] for f in report.fallbacks] == ["tuyere_script_test::odd"]
    assert "tuyere_script_test::odd" in str(program.inlined_graph)
    module = DataInTheMiddle().eval()
    _, report = check(module, scripted(module), (x,), [(x,), (-x,)])
    assert report.num_engines >= 1 and any("depends on data" in f[3] for f in report.fallbacks), str(report)


@pytest.mark.parametrize("module,op", [(OddInTheMiddle, "tuyere_script_test::odd"), (DataInTheMiddle, "aten::index")])
def test_strict_names_the_op(module, op):
    with torch.no_grad(), pytest.raises(RuntimeError, match=f"strict=True.*(\n.*)*{op}"):
        tuyere.compile(scripted(module()), (torch.randn(5, 8),), strict=True)


class InPlace(torch.nn.Module):
    def forward(self, x, y):
        z = x * 2
        view = z.view(-1)
        view[0] = 5
        z[:, 1].add_(y[:, 0])
        z.clamp_(-1, 4).mul_(2)
        return z, view + 1, torch.sigmoid_(y.t().contiguous())


class WritesInput(torch.nn.Module):
    def forward(self, x):
        before = x + 1
        x.mul_(2)
        return before, x + 1


class WritesBuffer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("state", torch.zeros(4))

    def forward(self, x):
        y = self.linear(x)
        self.state.mul_(0.5).add_(y.mean(0))
        return y + self.state


class ViewWrittenLater(torch.nn.Module):
    def forward(self, x, flag: bool):
        y = torch.exp(x)
        row = y[0]
        if flag:
            row.zero_()
        return y * 2, row


@pytest.mark.parametrize(
    "module,calls",
    [
        (InPlace(), [(torch.randn(3, 4), torch.randn(3, 4))]),
        (WritesInput(), [(torch.randn(3, 4),)]),
        (ViewWrittenLater(), [(torch.randn(3, 4), True), (torch.randn(3, 4), False)]),
    ],
)
def test_in_place(module, calls):
    _, report = check(module, scripted(module), calls[0], calls)
    assert report.num_native > 0


def test_buffers_that_change():
    module = WritesBuffer().eval()
    script = scripted(copy.deepcopy(module))
    x = torch.randn(3, 4)
    program, report = check(module, script, (x,), [(x,), (x + 1,), (x * 2,)])
    assert report.num_native > 0
    torch.testing.assert_close(dict(program.named_buffers())["state"], module.state)
    assert script.state.abs().max() == 0


class Structures(torch.nn.Module):
    def forward(self, xs: List[torch.Tensor], pair: Tuple[torch.Tensor, torch.Tensor], named: Dict[str, torch.Tensor], mask: Optional[torch.Tensor] = None):
        parts = torch.split(torch.cat(xs, 1) * pair[0], 2, 1)
        total = parts[0] + parts[1] + named["bias"]
        if mask is not None:
            total = total * mask
        return {"total": total, "parts": parts}, (total.sum(), [pair[1] - 1, total.exp()])


def test_structures():
    module = Structures()
    a, b, m = torch.randn(3, 2), torch.randn(3, 2), torch.ones(3, 2)
    inputs = ([a, b], (torch.randn(3, 4), b), {"bias": a})
    program, report = check(module, scripted(module), inputs)
    assert report.num_outside == 0, str(report)
    with pytest.raises(torch.jit.Error, match="'mask' must be None"):
        program(*inputs, m)
    check(module, scripted(module), (*inputs, m), strict=True)


def test_functions():
    def f(x, scale: float = 2.0):
        return torch.relu(x) + torch.sigmoid(x)

    check(f, torch.jit.script(f), (torch.randn(3, 4),), strict=True)
    check(f, torch.jit.trace(f, (torch.randn(3, 4),)), (torch.randn(3, 4),), strict=True)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        tuyere.compile(torch.jit.script(torch.nn.Linear(2, 2)), (torch.randn(1, 2),))


class DynamicBatch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4 * 36, 5)

    def forward(self, x, y):
        z = torch.relu(self.conv(x)).reshape(x.size(0), -1)
        z = self.linear(z) + y.narrow(0, 0, x.shape[0]) * (x.shape[0] // 2 + 1)
        return z, torch.ops.tuyere_script_test.odd(z).reshape(-1, 5 * x.size(0)), torch.zeros(x.shape[0], 2) + 1


@pytest.mark.parametrize("how", ["trace", "script"])
def test_dynamic_batch_one_build(how):
    module = DynamicBatch().eval()
    inputs = (torch.randn(2, 3, 6, 6), torch.randn(2, 5))
    script = scripted(module) if how == "script" else torch.jit.trace(module, inputs)
    batch = torch.export.Dim("batch", min=1, max=64)
    calls = [(torch.randn(n, 3, 6, 6), torch.randn(n, 5)) for n in (1, 2, 7)]
    program, report = check(module, script, inputs, calls, dynamic_shapes={"x": {0: batch}, "y": {0: batch}})
    assert report.num_engines >= 1 and all("odd" in f[0] for f in report.fallbacks if "view" not in f[0]), str(report)
    with pytest.raises(torch.jit.Error, match="at most 64"):
        program(torch.randn(65, 3, 6, 6), torch.randn(65, 5))
    with pytest.raises(torch.jit.Error, match="argument 'y'"):
        program(torch.randn(3, 3, 6, 6), torch.randn(4, 5))


def test_a_fixed_size_cannot_be_dynamic():
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.view(2, 3) + 1

    with pytest.raises(ValueError, match="dimension 0 of argument x was declared dynamic, but the module fixes it to 2"):
        tuyere.compile(scripted(Fixed()), (torch.randn(2, 3),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    with pytest.raises(ValueError, match="dynamic_shapes names 'z', but the module takes x"):
        tuyere.compile(scripted(Fixed()), (torch.randn(2, 3),), dynamic_shapes={"z": None})


@pytest.mark.parametrize("loader", ["import tuyere", "torch.ops.load_library(sys.argv[3])"])
def test_new_process(loader, tmp_path):
    module = ControlFlow().eval()
    inputs = (torch.randn(2, 3, 6, 6), torch.randn(5, 8))
    with torch.no_grad():
        program = tuyere.compile(scripted(module), inputs, **FAST)
        torch.save((inputs, program(*inputs)), tmp_path / "data.pt")
    torch.jit.save(program, tmp_path / "model.ts")
    script = (
        f"import sys, torch\n{loader}\nprogram = torch.jit.load(sys.argv[1])\ninputs, want = torch.load(sys.argv[2])\n"
        "for _ in range(3):\n  assert all(torch.equal(a, b) for a, b in zip(program(*inputs), want))\n"
    )
    library = tuyere._load.FOLDER / "libtuyere_torch.so"
    subprocess.run([sys.executable, "-c", script, tmp_path / "model.ts", tmp_path / "data.pt", library], check=True, cwd=tmp_path)
