# SPDX-License-Identifier: Apache-2.0
"""Private names of PyTorch are imported in one place and still mean what tuyere takes them for."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from tuyere import _compat, decompositions

PACKAGE = Path(_compat.__file__).parent


def test_all_names_exist():
    for name in _compat.__all__:
        assert hasattr(_compat, name), name


def test_import_leaves_cuda_alone():
    """A process that asked CUDA for its devices cannot fork others that use it."""
    script = (
        "import torch\n"
        "def asked():\n    raise SystemExit('CUDA was asked')\n"
        "torch.cuda.device_count = lambda: 1\ntorch._C._cuda_getDeviceCount = asked\n"
        "import tuyere\nassert not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_private_names_are_used_here_only():
    private = re.compile(r"\btorch(?:\.\w+)*?\._(?!_)\w+|torch\.fx\.experimental")
    allowed = {"torch.utils._pytree", "torch._ops", "torch._decomp"}  # as old as FX, or named by PyTorch's own documentation
    for path in PACKAGE.rglob("*.py"):
        if not path.name.startswith("_compat"):
            lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
            found = set(private.findall("\n".join(lines))) - allowed
            assert not found, f"{path.name} uses {found}"


def test_preserved_ops_leave_the_decomposition_tables():
    for table in (decompositions.for_compile(training=False), decompositions.for_export()):
        assert len(table) > 50
        assert not [op for op in decompositions.PRESERVED if op in table]


class Composite(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)

    def forward(self, x):
        x = torch.nn.functional.silu(self.norm(self.linear(x)))
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)


COMPOSITE_OPS = {"aten.linear.default", "aten.layer_norm.default", "aten.silu.default", "aten.scaled_dot_product_attention.default"}


def test_composite_ops_stay_whole_under_aot_autograd():
    seen = set()

    def compiler(gm, inputs):
        seen.update(str(n.target) for n in gm.graph.nodes if n.op == "call_function")
        assert all(isinstance(i, int) for i in _compat.static_input_indices())
        return gm.forward

    backend = _compat.aot_autograd(fw_compiler=compiler, inference_compiler=compiler, decompositions=decompositions.for_compile(training=False))
    torch._dynamo.reset()
    with torch.no_grad(), _compat.keep_composite_ops():
        torch.compile(Composite().eval(), backend=backend)(torch.randn(1, 2, 3, 4))
    assert COMPOSITE_OPS <= seen, seen


def test_composite_ops_stay_whole_in_exported_programs():
    with torch.no_grad():
        program = torch.export.export(Composite().eval(), (torch.randn(1, 2, 3, 4),)).run_decompositions(decompositions.for_export())
    assert COMPOSITE_OPS <= {str(n.target) for n in program.graph.nodes if n.op == "call_function"}


def test_keep_composite_ops_ends():
    with _compat.keep_composite_ops():
        pass
    x = torch.randn(2, 4)
    torch.testing.assert_close(torch.nn.functional.linear(x, torch.eye(4)), x)


def test_fake_tensors():
    with FakeTensorMode() as mode:
        x = torch.empty(3)
    assert isinstance(x, _compat.FakeTensor) and isinstance(mode, _compat.FakeTensorMode)
    with mode, _compat.unset_fake_temporarily():
        assert not isinstance(torch.empty(3), _compat.FakeTensor)


def test_static_input_indices_outside_of_a_compilation():
    assert _compat.static_input_indices() == []


def test_a_trace_of_another_thread_is_not_ours():
    from torch.fx import _symbolic_trace

    if not hasattr(_symbolic_trace, "_is_fx_tracing_flag"):
        pytest.skip("this PyTorch knows the threads that trace apart")
    before = _symbolic_trace._is_fx_tracing_flag
    tracing, looked = threading.Event(), threading.Event()

    def compile_slowly():
        with _compat.TRACING:
            tracing.set()
            looked.wait()

    thread = threading.Thread(target=compile_slowly)
    try:
        _symbolic_trace._is_fx_tracing_flag = True
        assert _symbolic_trace.is_fx_symbolic_tracing()  # a trace without PyTorch's lock: torch.fx.symbolic_trace
        with _compat.TRACING:
            assert _symbolic_trace.is_fx_symbolic_tracing()
        thread.start()
        tracing.wait()
        assert not _symbolic_trace.is_fx_symbolic_tracing()
    finally:
        looked.set()
        thread.join()
        _symbolic_trace._is_fx_tracing_flag = before
