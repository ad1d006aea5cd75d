# SPDX-License-Identifier: Apache-2.0
"""Compiled programs in the containers of PyTorch, run in a new process without the model's source."""

import subprocess
import sys

import pytest
import torch
import tuyere

FAST = {"optimization_level": 0}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4 * 36, 5)

    def forward(self, x):
        z = torch.relu(self.conv(x)).flatten(1)
        return {"scores": self.linear(z), "svd": torch.linalg.svdvals(z[:, :3])}


@pytest.fixture
def compiled(tmp_path):
    """(program, folder with data.pt: inputs of several batch sizes, and the results)."""
    model = Net().eval()
    batch = torch.export.Dim("batch", min=2, max=16)
    with torch.no_grad(), pytest.warns(tuyere.FallbackWarning):
        program = tuyere.compile(model, (torch.randn(4, 3, 6, 6),), dynamic_shapes=({0: batch},), **FAST)
        inputs = [torch.randn(n, 3, 6, 6) for n in (2, 4, 9)]
        torch.save((inputs, [program(x) for x in inputs]), tmp_path / "data.pt")
    assert program.report().num_engines == 1
    return program, tmp_path


def run_elsewhere(folder, imports, loader, path):
    script = (
        f"import sys, torch\n{imports}\nprogram = {loader}\ninputs, wanted = torch.load(sys.argv[2])\n"
        "with torch.no_grad():\n  for x, want in zip(inputs, wanted):\n    got = program(x)\n"
        "    for name in want:\n      torch.testing.assert_close(got[name], want[name])\n"
    )
    library = tuyere._load.FOLDER / "libtuyere_torch.so"
    subprocess.run([sys.executable, "-c", script, path, folder / "data.pt", library], check=True, cwd=folder)


def test_export_save(compiled):
    program, folder = compiled
    torch.export.save(program.export(), folder / "model.pt2")
    run_elsewhere(folder, "import tuyere", "torch.export.load(sys.argv[1]).module()", folder / "model.pt2")


def test_tuyere_load(compiled):
    program, folder = compiled
    program.save(folder / "model.pt2")
    run_elsewhere(folder, "import tuyere", "tuyere.load(sys.argv[1])", folder / "model.pt2")
    loaded = tuyere.load(folder / "model.pt2")
    assert loaded.report().num_engines == 1 and len(loaded.engines) == 1
    with pytest.raises(RuntimeError, match="torch.export.load"):
        loaded.export()


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["import tuyere", "torch.ops.load_library(sys.argv[3])"])
def test_aot_inductor(compiled, imports):
    program, folder = compiled
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(program.export(), package_path=str(folder / "model_aoti.pt2"))
    run_elsewhere(folder, f"import torch._inductor\n{imports}", "torch._inductor.aoti_load_package(sys.argv[1])", folder / "model_aoti.pt2")


def test_a_loaded_engine_checks_its_inputs(tmp_path):
    """One engine is called directly, without the guards of torch.export; they stay where PyTorch runs something (Net)."""
    model, x = torch.nn.Linear(4, 3).eval(), torch.randn(2, 4)
    with torch.no_grad():
        program = tuyere.compile(model, (x,), strict=True, **FAST)
        program.save(tmp_path / "model.pt2")
        loaded = tuyere.load(tmp_path / "model.pt2")
        assert torch.equal(loaded(x), program(x)) and not any(n.op == "call_module" for n in loaded.module.graph.nodes)
        for wrong, message in ((torch.randn(3, 4), "the engine needs"), (torch.randn(2, 4, dtype=torch.float64), "f64")):
            with pytest.raises(RuntimeError, match=message):
                loaded(wrong)
