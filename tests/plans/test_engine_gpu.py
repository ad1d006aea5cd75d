# SPDX-License-Identifier: Apache-2.0
"""Engines on a GPU: many threads and streams, one timing cache and the same bytes, a C++ program with nothing but the driver."""

import os
import re
import subprocess
import sys
import threading

import pytest
import torch
import tuyere
from test_engine_file import model
from test_runtime_library import needs, output_of, program  # noqa: F401  (a fixture)

pytestmark = pytest.mark.gpu


def compiled(**options):
    with torch.no_grad():
        return tuyere.compile(model().cuda(), (torch.randn(2, 3, 8, 8, device="cuda"),), strict=True, **options)


def test_sixteen_threads_on_their_own_streams():
    run = compiled()
    inputs = [torch.randn(2, 3, 8, 8, device="cuda") for _ in range(16)]
    want = [run(x).clone() for x in inputs]
    bad = []

    def work(k):
        with torch.cuda.stream(torch.cuda.Stream()), torch.no_grad():
            for _ in range(50):
                got = run(inputs[k])
                torch.cuda.current_stream().synchronize()
                if not torch.equal(got, want[k]):
                    bad.append(k)

    torch.cuda.synchronize()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not bad


def test_two_builds_with_one_timing_cache_give_the_same_bytes(tmp_path):
    script = (
        "import sys, torch\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from test_engine_gpu import compiled\n"
        "compiled(timing_cache=sys.argv[1], engine_cache=False).engines[0].save(sys.argv[2])\n"
    )
    files = [tmp_path / f"{k}.engine" for k in range(3)]  # the first build fills the timing cache
    for file in files:
        paths = os.pathsep.join([os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "timing.cache"), str(file), os.path.dirname(__file__)],
            check=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
    assert files[1].read_bytes() == files[2].read_bytes()


@needs("g++")
def test_a_program_runs_own_tactics_with_the_driver_only(program, tmp_path):  # noqa: F811
    compiled(tactic_sources=["own"]).engines[0].save(tmp_path / "own.engine")
    x = torch.randn(2, 3, 8, 8)
    x.numpy().tofile(tmp_path / "x.bin")
    env = {"PATH": os.environ["PATH"], "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    if "LD_LIBRARY_PATH" in os.environ:  # where some machines keep the driver
        env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    out = output_of(program, tmp_path / "own.engine", tmp_path / "x.bin", env=env)
    values = [float(v) for v in re.search(r"f32, 80 bytes:(.*)", out).group(1).split()]
    torch.testing.assert_close(torch.tensor(values), model()(x).detach().flatten()[:8], rtol=1e-3, atol=1e-3)
    loaded = "".join(f.read_text() for f in tmp_path.glob("loaded*"))
    assert "libcuda" in loaded
    assert not re.search(r"calling init: \S*(libtorch|libc10|libtuyere_builder|libcudnn|libcublas|libnvrtc|libcudart|libpython)", loaded)


def test_a_program_on_the_second_gpu():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    x = torch.randn(2, 3, 8, 8)
    for device in ("cuda:1", "cuda:0", "cuda:1"):
        run = torch.compile(model().to(device), backend="tuyere", options={"strict": True})
        with torch.no_grad():
            got = run(x.to(device))
        assert got.device == torch.device(device)
        torch.testing.assert_close(got.cpu(), model()(x).detach(), rtol=1e-3, atol=1e-3)


def test_memory_is_given_back():
    run, lost = compiled(), []
    for _ in range(5):
        free = torch.cuda.mem_get_info()[0]
        for _ in range(200):
            run(torch.randn(2, 3, 8, 8, device="cuda"))
        torch.cuda.synchronize()
        lost.append(free - torch.cuda.mem_get_info()[0])
    alone = "PYTEST_XDIST_WORKER" not in os.environ  # other processes may take memory of the device, but not in every round
    assert (sum(lost) if alone else min(lost)) < 64 << 20, lost
    assert tuyere.reports()


@pytest.mark.parametrize("way", ["torch.compile", "tuyere.compile"])
def test_the_call_that_captures_graphs_returns_unused_memory(way):
    net, x = model().cuda(), torch.randn(2, 3, 8, 8, device="cuda")
    with torch.no_grad():
        run = torch.compile(net, backend="tuyere") if way == "torch.compile" else compiled()
        results = []
        for call in range(4):
            torch.empty(256 << 20, dtype=torch.uint8, device="cuda")  # unused at once
            results.append(run(x))
            if call > 0:  # what is built at the first call begins with the same
                assert (torch.cuda.memory_reserved() < 128 << 20) == (call == 1), call
    for result in results:
        torch.testing.assert_close(result, net(x).detach(), rtol=1e-3, atol=1e-3)
