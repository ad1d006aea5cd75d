# SPDX-License-Identifier: Apache-2.0
"""weights="separate" and weights="shared": where the weights of an engine live, and that they are the same weights."""

import copy
import os
import subprocess
import sys

import pytest
import torch
import tuyere
from harness import error_of
from test_weights import change_by_load, change_by_replacement, change_in_place, small

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def wide():
    """Its matmul weights are read as they are; the convolution's are made by the weight program where it wants another order."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 8)).eval()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", ["separate", "shared"])
def test_same_results_through_torch_compile(weights, device):
    model, x = small().to(device), torch.randn(2, 3, 6, 6, device=device)
    with torch.no_grad():
        want = torch.compile(model, backend="tuyere", options={"strict": True})(x)
        torch._dynamo.reset()
        assert torch.equal(torch.compile(model, backend="tuyere", options={"strict": True, "weights": weights})(x), want)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", [change_by_load, change_in_place, change_by_replacement])
@pytest.mark.parametrize("weights", ["separate", "shared"])
def test_changed_weights_are_used(weights, change, device):
    model, x = small().to(device), torch.randn(2, 3, 6, 6, device=device)
    compiled = torch.compile(model, backend="tuyere", options={"strict": True, "weights": weights})
    with torch.no_grad():
        compiled(x)
        change(model)
        assert error_of(compiled(x), copy.deepcopy(model).double()(x.double())) < 1e-5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", [change_by_load, change_in_place])
def test_a_program_follows_the_weights_it_shares(change, device):
    model, x = small().to(device), torch.randn(2, 3, 6, 6, device=device)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True, weights="shared")
        program(x)
        change(model)
        assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5


class PackedGates(torch.nn.Module):
    """Halves of a weight, and every other row of one, may be views of it, or what the weight program makes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(64, 256), torch.nn.Linear(128, 192, bias=False)

    def forward(self, x):
        a, b = self.first(x).chunk(2, -1)
        y = self.second(a * torch.nn.functional.gelu(b))
        return torch.nn.functional.silu(y[..., ::2]) * y[..., 1::2]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", ["engine", "separate", "shared"])
def test_changed_parts_of_packed_weights_are_used(weights, device):
    dtype, bound = (torch.float16, 2e-3) if device == "cuda" else (torch.float32, 1e-5)
    model, x = PackedGates().eval().to(device, dtype), torch.randn(300, 64, device=device, dtype=dtype)
    compiled = torch.compile(model, backend="tuyere", options={"strict": True, "weights": weights})
    with torch.no_grad():
        compiled(x)
        change_in_place(model)
        assert error_of(compiled(x), copy.deepcopy(model).double()(x.double())) < bound


def test_shared_weights_are_not_copied():
    model, x = wide(), torch.randn(4, 64)
    weight_bytes = sum(p.numel() * 4 for p in model.parameters())
    with torch.no_grad():
        whole = tuyere.compile(model, (x,), strict=True)
        program = tuyere.compile(model, (x,), strict=True, weights="shared")
        assert whole.engines[0].carrier.numel() > weight_bytes > program.engines[0].carrier.numel()
        assert torch.equal(program(x), whole(x))


def test_two_modules_of_one_architecture_stay_apart():
    models, x = [wide(), wide()], torch.randn(4, 64)
    with torch.no_grad():
        programs = [tuyere.compile(m, (x,), strict=True, weights="shared") for m in models]
        change_in_place(models[1])
        for model, program in zip(models, programs):
            assert error_of(program(x), copy.deepcopy(model).double()(x.double())) < 1e-5


@pytest.mark.parametrize("weights", ["separate", "shared"])
def test_saved_programs_load_in_a_new_process(weights, tmp_path):
    model, x = small(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True, weights=weights, engine_cache=False)
        if weights == "shared":
            change_in_place(model)
        want = program(x)
        program.save(tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2.0.weights").exists()
    torch.save({"x": x, "want": want}, tmp_path / "io.pt")
    script = "import torch, tuyere\nio = torch.load('io.pt')\nwith torch.no_grad():\n    assert torch.equal(tuyere.load('model.pt2')(io['x']), io['want'])\n"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    os.unlink(tmp_path / "model.pt2.0.weights")
    with torch.no_grad(), pytest.raises(Exception, match="weights"):
        tuyere.load(tmp_path / "model.pt2")(x)


def test_engine_files(tmp_path):
    model, x = wide(), torch.randn(4, 64)
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), strict=True, weights="shared").engines[0]
        want = engine(x)[0]
        engine.save(tmp_path / "shared.engine", weights="shared")
        with pytest.raises(RuntimeError, match="pass the parameters"):
            tuyere.Engine.load(tmp_path / "shared.engine")
        lent = tuyere.Engine.load(tmp_path / "shared.engine", weights=model.state_dict())
        assert torch.equal(lent(x)[0], want)
        for mode, files in (("engine", 1), ("separate", 2)):
            folder = tmp_path / mode
            folder.mkdir()
            engine.save(folder / "model.engine", weights=mode)
            assert len(list(folder.iterdir())) == files
            assert torch.equal(tuyere.Engine.load(folder / "model.engine")(x)[0], want)
