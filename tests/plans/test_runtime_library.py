# SPDX-License-Identifier: Apache-2.0
"""libtuyere_runtime.so is lean: small, free of torch, builder and CUDA, exports its interface only, and a C++ program needs nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import tuyere
from tuyere import _load

ROOT = Path(__file__).parent.parent.parent
RUNTIME = _load.FOLDER / "libtuyere_runtime.so"
BUDGETS = {"libtuyere_runtime.so": 5.0, "libtuyere_kernels_cpu.so": 5.0, "libtuyere_builder.so": 12.0, "libtuyere_torch.so": 1.0}  # MB
FOREIGN = re.compile(r"libtorch|libc10|libtuyere_builder|libtuyere_kernels|libcuda|libcudart|libcudnn|libcublas|libnvrtc|libpython|libdnnl")


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def output_of(*command, **kwargs):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **kwargs).stdout


@pytest.mark.parametrize("name", BUDGETS)
def test_size_budget(name):
    assert (_load.FOLDER / name).stat().st_size < BUDGETS[name] * 1e6


@needs("ldd")
def test_runtime_links_nothing_foreign():
    listed = output_of("ldd", RUNTIME)
    assert "libstdc++" in listed and not FOREIGN.search(listed), listed


@needs("ldd")
def test_only_the_op_links_torch():
    for name in ("libtuyere_kernels_cpu.so", "libtuyere_builder.so"):
        assert not re.search(r"libtorch|libc10|libcuda|libcudnn|libcublas|libnvrtc|libpython", output_of("ldd", _load.FOLDER / name)), name


@needs("nm")
def test_runtime_exports_its_interface_only():
    names = [line.split(maxsplit=2)[2] for line in output_of("nm", "-DC", "--defined-only", RUNTIME).splitlines()]
    ours = re.compile(r"tuyere_\w+$|(typeinfo (name )?for |vtable for |VTT for |guard variable for |non-virtual thunk to )?tuyere::")
    assert not [n for n in names if not ours.match(n)]
    declared = re.findall(r"\b(tuyere_\w+)\(", (ROOT / "runtime/engine/c_api.h").read_text())
    assert set(declared) <= set(names) and {n for n in names if n.startswith("tuyere_")} <= set(declared)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """examples/run_engine.cpp, compiled against the installed library."""
    path = tmp_path_factory.mktemp("program") / "run_engine"
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}", f"-L{RUNTIME.parent}", f"-Wl,-rpath,{RUNTIME.parent.resolve()}"]
    output_of("g++", *flags, ROOT / "examples/run_engine.cpp", "-ltuyere_runtime", "-o", path)
    return path


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 4)).eval()


@pytest.fixture(scope="module")
def engine_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "model.engine"
    with torch.no_grad():
        tuyere.compile(model(), (torch.randn(1, 3, 8, 8),), strict=True, tactic_sources=["own"]).engines[0].save(path)
    return path


@needs("g++")
def test_a_program_runs_a_cpu_engine_without_cuda_or_torch(program, engine_file, tmp_path):
    x = torch.randn(1, 3, 8, 8)
    x.numpy().tofile(tmp_path / "x.bin")
    # Only what the loader finds by itself: no wheel's folder, no LD_LIBRARY_PATH.
    env = {"PATH": os.environ["PATH"], "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    out = output_of(program, engine_file, tmp_path / "x.bin", env=env)
    values = re.search(r"f32, 16 bytes:(.*)", out).group(1).split()
    torch.testing.assert_close(torch.tensor([[float(v) for v in values]]), model()(x).detach(), rtol=1e-4, atol=1e-4)
    loaded = "".join(f.read_text() for f in tmp_path.glob("loaded*"))
    assert "libtuyere_kernels_cpu" in loaded
    assert not re.search(r"calling init: \S*(libtorch|libc10|libtuyere_builder|libcud|libcublas|libnvrtc|libpython)", loaded)


@needs("g++")
def test_a_program_gets_clear_errors(program, engine_file, tmp_path):
    def error_of(*arguments):
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert done.returncode == 1
        return done.stderr

    assert "cannot open" in error_of(tmp_path / "none.engine")
    (tmp_path / "cut.engine").write_bytes(engine_file.read_bytes()[:1000])
    assert "truncated" in error_of(tmp_path / "cut.engine")
    (tmp_path / "x.bin").write_bytes(b"1234")
    assert "fewer than 768 bytes" in error_of(engine_file, tmp_path / "x.bin")


def test_the_builder_needs_no_torch():
    """The C++ module works where PyTorch cannot be imported."""
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import ctypes, importlib.util\n"
        "for name in ('libtuyere_runtime.so', 'libtuyere_builder.so'): ctypes.CDLL(sys.argv[1] + '/' + name, mode=ctypes.RTLD_GLOBAL)\n"
        "spec = importlib.util.spec_from_file_location('tuyere._tuyere', sys.argv[2])\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "net = m.Network.parse('x = input f32[2,3]\\ny = relu(x)\\nreturn y')\n"
        "config = m.BuilderConfig(); config.timing_cache = ''\n"
        "data = m.build(net, config, None)[0]\n"
        "assert len(data) > 100 and not [n for n in sys.modules if n.startswith('torch.')]\n"
        "assert 'libtorch' not in open('/proc/self/maps').read()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(_load.FOLDER), tuyere._tuyere.__file__], check=True)
