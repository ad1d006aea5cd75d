# SPDX-License-Identifier: Apache-2.0
"""Engine files: valid safetensors, deterministic, and never a crash when broken."""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch
import tuyere
from safetensors import safe_open


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 10)).eval()


@pytest.fixture(scope="module")
def engine_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "model.engine"
    with torch.no_grad():
        tuyere.compile(model(), (torch.randn(2, 3, 8, 8),), strict=True).engines[0].save(path)
    return path


def test_opens_with_safetensors(engine_path):
    with safe_open(engine_path, "pt") as f:
        assert "tuyere" in f.metadata() and json.loads(f.metadata()["tuyere"])["bodies"]
        assert any(k.startswith(("const/", "param/")) for k in f.keys())


def test_runs_from_the_file(engine_path):
    x = torch.randn(2, 3, 8, 8)
    engine = tuyere.Engine.load(engine_path)
    torch.testing.assert_close(engine(x)[0], model()(x), rtol=1e-5, atol=1e-5)


def test_broken_files_give_errors(engine_path, tmp_path):
    data = engine_path.read_bytes()
    bad = tmp_path / "bad.engine"
    for cut in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:cut])
        with pytest.raises((RuntimeError, ValueError)):
            tuyere.Engine.load(bad)
    bad.write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises((RuntimeError, ValueError)):
        tuyere.Engine.load(bad)
    newer = data.replace(b'\\"version\\":1', b'\\"version\\":9', 1)
    assert newer != data
    bad.write_bytes(newer)
    with pytest.raises(RuntimeError, match="newer"):
        tuyere.Engine.load(bad)


def test_sixteen_threads(engine_path):
    engine = tuyere.Engine.load(engine_path)
    inputs = [torch.randn(2, 3, 8, 8) for _ in range(16)]
    want = [engine(x)[0].clone() for x in inputs]
    bad = []

    def work(k):
        for _ in range(20):
            if not torch.equal(engine(inputs[k])[0], want[k]):
                bad.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not bad


def test_two_builds_give_the_same_bytes(tmp_path):
    script = (
        "import sys, torch, tuyere\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from test_engine_file import model\n"
        "with torch.no_grad():\n"
        "    p = tuyere.compile(model(), (torch.ones(2, 3, 8, 8),), strict=True, timing_cache=sys.argv[1], engine_cache=False)\n"
        "p.engines[0].save(sys.argv[2])\n"
    )
    with torch.no_grad():  # fills the timing cache
        tuyere.compile(model(), (torch.ones(2, 3, 8, 8),), strict=True, timing_cache=tmp_path / "timing.cache", engine_cache=False)
    files = [tmp_path / f"{k}.engine" for k in range(2)]
    for file in files:
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "timing.cache"), str(file), os.path.dirname(__file__)], check=True, cwd=tmp_path)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_gpu_that_is_absent(tmp_path):
    """Built for another machine: it can be looked at and saved here; running says what is missing."""
    with torch.no_grad():
        program = tuyere.compile(model(), (torch.randn(2, 3, 8, 8),), target="sm_80", tactic_sources=["own"], optimization_level=0, strict=True)
    assert program.report().num_engines == 1 and program.report().target == "sm_80"
    (engine,) = program.engines
    engine.save(tmp_path / "gpu.engine")
    program.save(tmp_path / "gpu.pt2")
    file = tuyere.EngineFile.read(tmp_path / "gpu.engine")
    assert file.plan["target"] == engine.target == "sm_80" and all(s["tactic"].startswith("own.") for s in file.steps)
    assert len(tuyere.load(tmp_path / "gpu.pt2").engines) == 1
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA (driver|device)"):
            tuyere.Engine.load(tmp_path / "gpu.engine")
        with pytest.raises(RuntimeError, match="CUDA (driver|device)"):
            program(torch.randn(2, 3, 8, 8))
