# SPDX-License-Identifier: Apache-2.0
"""Programs on the CPU with several numbers of threads, from several callers at once, and beside another process."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import tuyere

CALLERS = 4


class Net(torch.nn.Module):
    """Convolutions, a gate, attention, norms and sums, each large enough for several threads."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, 2, 1), torch.nn.BatchNorm2d(64), torch.nn.SiLU())
        self.depthwise = torch.nn.Conv2d(64, 64, 5, padding=2, groups=64)
        self.gate = torch.nn.Conv2d(64, 64, 1)
        self.wide = torch.nn.Conv2d(64, 128, 3, 2, 1)
        self.block = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, norm_first=True)

    def forward(self, x):
        x = self.depthwise(self.stem(x))
        x = self.wide(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))
        x = self.block(x.flatten(2).transpose(1, 2))
        return x.softmax(-1), x.cumsum(1), x.sum(), x.amax(-1)


@pytest.fixture(autouse=True)
def _restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def inputs():
    return [torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(k)) for k in range(CALLERS)]


@pytest.fixture(scope="module")
def expected(net, inputs):
    with torch.no_grad():
        return [net(x) for x in inputs]


def check(results, expected):
    for got, wanted in zip(results, expected):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_callers_at_once(net, inputs, expected, threads):
    torch.set_num_threads(threads)
    program = tuyere.compile(net, (inputs[0],))
    alone = [program(x) for x in inputs]
    for results, wanted in zip(alone, expected):
        check(results, wanted)

    def calls(x):
        torch.set_num_threads(threads)
        return [program(x) for _ in range(10)]

    with ThreadPoolExecutor(CALLERS) as pool:
        at_once = list(pool.map(calls, inputs))
    for mine, others in zip(alone, at_once):
        for results in others:
            for a, b in zip(mine, results):
                assert torch.equal(a, b)


def test_other_numbers_of_threads(net, inputs, expected):
    """A program goes on when the number of threads changes."""
    program = tuyere.compile(net, (inputs[0],))
    for threads in (4, 1, 2, 3):
        torch.set_num_threads(threads)
        check(program(inputs[0]), expected[0])


@pytest.mark.parametrize("threads", [2, 4])
def test_beside_busy_processes(net, inputs, expected, threads):
    """Loops take the time of their work, not slices of the scheduler's: a call of some 30 loops took 10 times as long as in one thread, and more."""
    torch.set_num_threads(1)
    single = tuyere.compile(net, (inputs[0],))
    single(inputs[0])
    torch.set_num_threads(threads)
    program = tuyere.compile(net, (inputs[0],))
    wanted = program(inputs[0])
    check(wanted, expected[0])
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        seconds = {}
        for name, call in (("shared", program), ("alone", single)):
            start = time.perf_counter()
            results = [call(inputs[0]) for _ in range(200)]
            seconds[name] = time.perf_counter() - start
            for result in results:
                check(result, wanted)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert seconds["shared"] < 4 * seconds["alone"] + 0.5


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="no more threads are started than there are cores: needs two")
def test_times_are_kept_apart_by_threads(net, inputs, tmp_path):
    """What is fastest in one thread need not be in two."""
    path = tmp_path / "times.jsonl"
    for threads in (1, 2):
        torch.set_num_threads(threads)
        tuyere.compile(net, (inputs[0],), timing_cache=path, optimization_level=4)
    devices = {json.loads(line).get("device", "").rpartition(", ")[2] for line in path.read_text().splitlines()[1:]}
    assert devices == {"1 threads", "2 threads"}


_CALLS = """
import sys
import torch, tuyere
torch.set_num_threads(int(sys.argv[2]))
program = tuyere.load(sys.argv[1])
x = torch.zeros(1, 64, 64, 64)
print("calls", file=sys.stderr, flush=True)
program(x)
print(torch.get_num_threads())
"""


def test_threads_have_cores_of_their_own(tmp_path):
    path, cores = str(tmp_path / "conv.pt2"), len(os.sched_getaffinity(0))
    tuyere.compile(torch.nn.Conv2d(64, 64, 3).eval(), [torch.zeros(1, 64, 64, 64)]).save(path)
    said = os.environ | {"OMP_DISPLAY_AFFINITY": "TRUE", "OMP_AFFINITY_FORMAT": "team of %N"}  # OpenMP tells every new team of threads
    run = subprocess.run([sys.executable, "-c", _CALLS, path, str(cores + 12)], capture_output=True, text=True, check=True, env=said)
    assert "team of " in run.stderr  # it did tell
    teams = [int(line.removeprefix("team of ")) for line in run.stderr.partition("calls\n")[2].splitlines() if line.startswith("team of ")]
    assert max(teams, default=1) <= cores
    assert int(run.stdout) == cores + 12
