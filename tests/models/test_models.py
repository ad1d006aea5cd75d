# SPDX-License-Identifier: Apache-2.0
"""Whole models: one engine, nothing hosted, nothing outside; as exact as eager; the same bits after saving and loading in a new process."""

import copy
import subprocess
import sys

import pytest
import torch
import tuyere
from harness import error_of, leaves

from benchmarks import models

QUICK = ["resnet18", "mobilenet_v3_large", "bert", "gpt2", "llama"]
EPS = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


def _double(model, inputs):
    return leaves(copy.deepcopy(model).double()(*(x.double() if x.is_floating_point() else x for x in inputs)))[0]


def check(name, dtype, device, seeds=1, tiny=True, **options):
    """Median over seeds of our error is at most 1.5x eager's (floor 4 eps)."""
    ours, eagers = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model, inputs = models.make(name, tiny=tiny)
        with torch.no_grad():
            want = _double(model, inputs)
            model = model.to(device, dtype)
            inputs = tuple(x.to(device, dtype) if x.is_floating_point() else x.to(device) for x in inputs)
            program = tuyere.compile(model, inputs, strict=True, **options)
            report = program.report()
            assert (report.num_engines, report.num_hosted, report.num_outside) == (1, 0, 0), str(report)
            got = program(*inputs)
            ours.append(error_of(got, want))
            eagers.append(error_of(model(*inputs), want))
            if seed == 0:
                compiled = torch.compile(model, backend="tuyere", options={"strict": True, **options})
                assert error_of(compiled(*inputs), want) <= max(1.5 * eagers[-1], 4 * EPS[dtype]) * 1.5
    ours, eagers = sorted(ours)[seeds // 2], sorted(eagers)[seeds // 2]
    assert ours <= max(1.5 * eagers, 4 * EPS[dtype]), f"{name}: error {ours:.2e}, eager {eagers:.2e}"


MARKS = {n: [pytest.mark.slow] for n in models.ALL if n not in QUICK}


@pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS.get(n, [])) for n in models.ALL])
def test_cpu(name):
    check(name, torch.float32, "cpu", seeds=3)  # which kernels win a race decides single errors


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", models.ALL)
def test_gpu(name, dtype):
    check(name, dtype, "cuda", seeds=7 if dtype == torch.float32 else 3)  # which layers cuDNN rounds to TF32 is its choice in eager: single seeds differ


@pytest.mark.parametrize("name", ["resnet18", "bert"])
def test_own_tactics(name):
    check(name, torch.float32, "cpu", tactic_sources=["own", "reference"])


def test_save_and_load_in_a_new_process(tmp_path):
    model, inputs = models.make("resnet18", tiny=True)
    with torch.no_grad():
        program = tuyere.compile(model, inputs, strict=True)
        want = program(*inputs)
    program.save(tmp_path / "model.pt2")
    torch.save((inputs, want), tmp_path / "data.pt")
    script = (
        "import sys, torch, tuyere\n"
        "program = tuyere.load(sys.argv[1])\n"
        "inputs, want = torch.load(sys.argv[2])\n"
        "assert program.report().num_engines == 1 and len(program.engines) == 1\n"
        "assert torch.equal(program(*inputs), want)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model.pt2"), str(tmp_path / "data.pt")], check=True, cwd=tmp_path)


def test_dynamic_batch_one_build():
    model, _ = models.make("resnet18", tiny=True)
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = tuyere.compile(model, (torch.randn(2, 3, 96, 96),), dynamic_shapes=({0: batch},), strict=True)
        for size in (1, 2, 7):
            x = torch.randn(size, 3, 96, 96)
            assert error_of(program(x), _double(model, (x,))) < 1e-5
    assert program.report().num_engines == 1


def test_dynamic_sequence_one_build():
    model, _ = models.make("bert", batch=2, tiny=True)
    with torch.no_grad():
        shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},)
        program = tuyere.compile(model, (torch.randint(0, 500, (2, 16)),), dynamic_shapes=shapes, strict=True)
        for batch, length in ((1, 16), (3, 5), (2, 31)):
            ids = torch.randint(0, 500, (batch, length))
            assert error_of(program(ids), _double(model, (ids,))) < 1e-5


def test_mark_dynamic_builds_no_more_than_dynamo_asks():
    model, _ = models.make("resnet18", tiny=True)
    tuyere.clear_reports()
    compiled = torch.compile(model, backend="tuyere", options={"strict": True})
    with torch.no_grad():
        for size in (2, 3, 5):
            x = torch.randn(size, 3, 96, 96)
            torch._dynamo.mark_dynamic(x, 0)
            assert error_of(compiled(x), _double(model, (x,))) < 1e-5
    assert len(tuyere.reports()) == 1
