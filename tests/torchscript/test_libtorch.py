# SPDX-License-Identifier: Apache-2.0
"""examples/libtorch_deploy: a saved program runs in C++ with nothing but LibTorch and libtuyere_torch.so."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
import tuyere

SOURCE = Path(__file__).parent.parent.parent / "examples" / "libtorch_deploy"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4 * 16, 5)

    def forward(self, x, rounds: int):
        z = torch.relu(self.conv(x)).flatten(1)
        for _ in range(rounds):
            z = torch.tanh(z)
        if bool(z.mean() > 10):
            z = z - 1
        return self.linear(z), torch.linalg.matrix_exp(z[:, :4].reshape(-1, 2, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("libtorch_deploy")


# Some compilers link libstdc++ statically, where LibTorch has a shared one.
@pytest.fixture(scope="module", params=["", "-static-libstdc++"])
def program(request, folder):
    root = Path(torch.__file__).parent
    options = [f"-DTORCH_ROOT={root}", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_EXE_LINKER_FLAGS={request.param}"]
    subprocess.run(["cmake", "-S", SOURCE, "-B", folder, *options], check=True)
    subprocess.run(["cmake", "--build", folder], check=True)
    return folder / "libtorch_deploy"


@pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_runs_in_libtorch(program, device, tmp_path):
    model, x = Model().eval().to(device), torch.randn(2, 3, 6, 6, device=device)
    with torch.no_grad():
        compiled = tuyere.compile(torch.jit.script(model), (x, 3), optimization_level=0)
        assert tuyere.reports()[-1].num_engines >= 2
        want = compiled(x, 3)
    torch.jit.save(compiled, tmp_path / "model.ts")
    torch.save([x, 3], tmp_path / "inputs.pt")
    library = tuyere._load.FOLDER / "libtuyere_torch.so"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    files = [tmp_path / name for name in ("model.ts", "inputs.pt", "outputs.pt")]
    subprocess.run([program, library, *files], check=True, env=environment)
    got = torch.load(tmp_path / "outputs.pt")
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
