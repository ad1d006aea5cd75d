# SPDX-License-Identifier: Apache-2.0
"""The tuyere command."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import tuyere
from tuyere import bench
from tuyere.cli import main


@pytest.fixture(scope="module")
def engine_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "mlp.engine"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 2)).eval()
    shapes = {"input": {0: torch.export.Dim("n", min=1, max=64)}}
    with torch.no_grad():
        tuyere.compile(model, (torch.randn(3, 4),), dynamic_shapes=shapes, strict=True).engines[0].save(path)
    return path


def said(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 1
    return capsys.readouterr().err


def test_inspect(engine_path, capsys):
    text = said(capsys, "inspect", engine_path)
    assert "for cpu" in text and "runs here: yes" in text and "f32[" in text and "tuned for 3" in text and "tactics: " in text
    plan = json.loads(said(capsys, "inspect", engine_path, "--json"))["plan"]
    assert plan["target"] == "cpu" and plan["bodies"][0]["steps"]
    assert "return " in said(capsys, "inspect", engine_path, "--network")
    assert "matmul" in said(capsys, "inspect", engine_path, "--problems")


def test_inspect_an_engine_for_another_machine(tmp_path, capsys):
    net = tuyere.Network.parse("x = input f32[64]\ny = relu(x)\nreturn y")
    config = tuyere.BuilderConfig()
    config.target, config.optimization_level, config.timing_cache = "sm_80", 0, ""
    (tmp_path / "gpu.engine").write_bytes(tuyere._tuyere.build(net, config, None)[0])
    text = said(capsys, "inspect", tmp_path / "gpu.engine")
    assert "for sm_80" in text and "own.pointwise" in text
    if not torch.cuda.is_available():
        assert "runs here: no: " in text
        assert re.search("CUDA (driver|device)", refused(capsys, "run", tmp_path / "gpu.engine"))


def test_run_reads_and_writes_arrays(engine_path, tmp_path, capsys):
    name = tuyere.Engine.load(engine_path).inputs[0]["name"]
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("f")
    np.save(tmp_path / "x.npy", x)
    text = said(capsys, "run", engine_path, "--input", f"{name}={tmp_path / 'x.npy'}", "--output", tmp_path)
    assert "float32[5, 2]" in text
    want = tuyere.Engine.load(engine_path)(torch.from_numpy(x))[0]
    (written,) = [p for p in tmp_path.glob("*.npy") if p.name != "x.npy"]
    np.testing.assert_array_equal(np.load(written), want.numpy())


def test_sizes(engine_path, capsys):
    size = next(iter(json.loads(said(capsys, "inspect", engine_path, "--json"))["plan"]["bodies"][0]["symbols"]))["name"]
    assert "float32[7, 2]" in said(capsys, "run", engine_path, "--size", f"{size}=7")
    assert "no size 'q'" in refused(capsys, "run", engine_path, "--size", "q=7")
    assert "NAME=NUMBER" in refused(capsys, "run", engine_path, "--size", "q")
    assert "NAME one of" in refused(capsys, "run", engine_path, "--input", "nothing=x.npy")


def test_bench(engine_path, capsys):
    text = said(capsys, "bench", engine_path, "--seconds", "0.05", "--warmup", "0", "--profile")
    assert "median" in text and "calls/s" in text and "arena 0.0" in text and "GB/s" in text
    found = json.loads(said(capsys, "bench", engine_path, "--seconds", "0.05", "--warmup", "0", "--profile", "--json"))
    spread = found["latency"]
    assert 0 < spread["min"] <= spread["median"] <= spread["p90"] <= spread["p95"] <= spread["p99"] and found["enqueue"]["min"] <= spread["min"]
    assert found["device"] is None and found["throughput"] > 0 and found["weight_bytes"] > 0
    assert sum("roofline" in step for step in found["steps"]) > 0 and all(step["micros"] > 0 for step in found["steps"])


def test_spread_and_warnings():
    spread = bench.Spread.of([float(k) for k in range(100, 0, -1)])
    assert (spread.min, spread.mean, spread.median, spread.p90, spread.p95, spread.p99) == (1, 50.5, 50.5, 90, 95, 99)
    assert not bench._warnings([1.0] * 30)
    assert "scatter" in bench._warnings([1.0] * 20 + [5.0] * 10)[0] and "drift" in bench._warnings([1.0] * 10 + [1.05] * 10 + [1.1] * 10)[0]


@pytest.mark.gpu
def test_bench_on_a_gpu():
    x = torch.randn(256, 256, device="cuda")
    timing = bench.measure(lambda t: t @ t, [x], seconds=0.2, warmup=0.1)
    assert 0 < timing.device.median <= timing.latency.median and timing.upload.min > 0 and timing.download.min > 0
    assert timing.energy is None or timing.energy > 0


def test_env(capsys):
    text = said(capsys, "env")
    assert tuyere.__version__ in text and torch.__version__ in text and "libtuyere_runtime.so" in text and "TUYERE_LOG" in text and "CUDA driver" in text


def test_broken_files(tmp_path, capsys):
    for content in (b"", b"12345678", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 100):
        (tmp_path / "bad.engine").write_bytes(content)
        assert "bad.engine is not an engine file" in refused(capsys, "inspect", tmp_path / "bad.engine")
    assert "No such file" in refused(capsys, "inspect", tmp_path / "none.engine")


def test_as_a_module(engine_path):
    done = subprocess.run([sys.executable, "-m", "tuyere.cli", "inspect", str(engine_path)], capture_output=True, text=True)
    assert done.returncode == 0 and "steps" in done.stdout
