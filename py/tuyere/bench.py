# SPDX-License-Identifier: Apache-2.0
"""Times calls honestly: latency of single calls, what the host does of it, the device's own time, throughput of queued calls, transfers, energy."""

import ctypes
import dataclasses
import math
import statistics
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch
from torch.utils import _pytree as pytree

from . import _tuyere

Call = Callable[[], Any]


@dataclasses.dataclass
class Spread:
    """Of one quantity, in milliseconds per call."""

    min: float
    mean: float
    median: float
    p90: float
    p95: float
    p99: float

    @staticmethod
    def of(times: Sequence[float]) -> "Spread":
        ordered = sorted(times)

        def at(q):
            """The smallest value that at least the share q of the calls does not exceed."""
            return ordered[math.ceil(q * len(ordered)) - 1]

        return Spread(ordered[0], statistics.fmean(ordered), statistics.median(ordered), at(0.90), at(0.95), at(0.99))


@dataclasses.dataclass
class Timing:
    """latency: a single call until its results are there; enqueue: until the call returns; device: between events before and after it, None on the CPU;
    upload, download: inputs from pinned memory and outputs to it; throughput: calls per second when the host waits after every eighth; energy: joules
    per call in that time, None where NVML does not tell."""

    calls: int
    latency: Spread
    enqueue: Spread
    throughput: float
    device: Optional[Spread] = None
    upload: Optional[Spread] = None
    download: Optional[Spread] = None
    energy: Optional[float] = None
    warnings: List[str] = dataclasses.field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self):
        names = [f.name for f in dataclasses.fields(Spread)]
        lines = [f"{self.calls} calls, {self.throughput:.1f} calls/s" + (f", {self.energy:.4g} J a call" if self.energy is not None else "")]
        lines.append(f"  {'ms':9s}" + "".join(f"{name:>10s}" for name in names))
        for row in ("latency", "enqueue", "device", "upload", "download"):
            if (spread := getattr(self, row)) is not None:
                lines.append(f"  {row:9s}" + "".join(f"{getattr(spread, name):10.4f}" for name in names))
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


def measure(call: Callable[..., Any], inputs: Sequence[torch.Tensor], seconds: float = 2.0, warmup: float = 0.5) -> Timing:
    """Times call(*inputs) for about `seconds` after `warmup` seconds of calls; inputs on a GPU tell which one is timed."""
    device = next((t.device for t in inputs if t.is_cuda), None)

    def run():
        return call(*inputs)

    _calls_for(warmup, lambda: (run(), _wait(device)), at_least=3)
    rows = _single_calls(run, device, seconds / 2)
    queued, elapsed, joules = _queued_calls(run, device, seconds / 2)
    timing = Timing(len(rows), Spread.of([r[1] for r in rows]), Spread.of([r[0] for r in rows]), queued / elapsed)
    if device is not None:
        timing.device = Spread.of([r[2] for r in rows])
        timing.upload, timing.download = _transfers(inputs, device), _transfers(_tensors(run()), torch.device("cpu"))
        timing.energy = None if joules is None else joules / queued
    timing.warnings = _warnings([r[1] for r in rows])
    return timing


def _calls_for(seconds: float, call: Call, at_least: int) -> int:
    count, end = 0, time.perf_counter() + seconds
    while count < at_least or time.perf_counter() < end:
        call()
        count += 1
    return count


def _wait(device):
    if device is not None:
        torch.cuda.synchronize(device)


def _single_calls(run: Call, device, seconds: float):
    """(enqueue, latency, device or 0) of each call, in milliseconds."""
    rows = []

    def one():
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device is not None else []
        for event in events[:1]:
            event.record(torch.cuda.current_stream(device))
        start = time.perf_counter()
        run()
        returned = time.perf_counter()
        for event in events[1:]:
            event.record(torch.cuda.current_stream(device))
        _wait(device)
        end = time.perf_counter()
        rows.append(((returned - start) * 1e3, (end - start) * 1e3, events[0].elapsed_time(events[1]) if events else 0.0))

    _calls_for(seconds, one, at_least=10)
    return rows


def _queued_calls(run: Call, device, seconds: float):
    """(calls, seconds, joules or None)."""
    meter = None if device is None else _EnergyMeter.of(device)
    before, start = meter.joules() if meter else 0.0, time.perf_counter()
    count = 0
    while count < 10 or time.perf_counter() - start < seconds:
        for _ in range(8):  # a queue of calls, not so long that the launch queue is full
            run()
        count += 8
        _wait(device)
    elapsed = time.perf_counter() - start
    return count, elapsed, meter.joules() - before if meter else None


def _transfers(tensors: Sequence[torch.Tensor], to: torch.device) -> Optional[Spread]:
    if not tensors:
        return None
    sources = [t.cpu().pin_memory() if to.type == "cuda" else t for t in tensors]
    targets = [torch.empty_like(t, device=to).pin_memory() if to.type == "cpu" else torch.empty_like(t, device=to) for t in tensors]
    gpu = to if to.type == "cuda" else sources[0].device
    times = []
    for _ in range(20):
        _wait(gpu)
        start = time.perf_counter()
        for target, source in zip(targets, sources):
            target.copy_(source, non_blocking=True)
        _wait(gpu)
        times.append((time.perf_counter() - start) * 1e3)
    return Spread.of(times[3:])


def _tensors(results) -> List[torch.Tensor]:
    return [t for t in pytree.tree_leaves(results) if isinstance(t, torch.Tensor)]


def _warnings(latencies: Sequence[float]) -> List[str]:
    """What makes the numbers doubtful."""
    found, spread, third = [], Spread.of(latencies), len(latencies) // 3
    if spread.p95 > 1.2 * spread.median:
        found.append(f"latencies scatter: p95 is {spread.p95 / spread.median:.2f} of the median; other work on the machine, or clocks that change")
    first, last = statistics.median(latencies[: third or 1]), statistics.median(latencies[-(third or 1) :])
    if not 0.95 < last / first < 1.05:
        found.append(f"latencies drift: the last third takes {last / first:.2f} of the first; a longer warm-up, or a machine that heats up")
    return found


class _EnergyMeter:
    """The total energy that NVML counts for a GPU."""

    def __init__(self, library, handle):
        self._library, self._handle = library, handle

    @staticmethod
    def of(device: torch.device) -> Optional["_EnergyMeter"]:
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return None
        handle, uuid = ctypes.c_void_p(), f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        if library.nvmlInit_v2() != 0 or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != 0:
            return None
        meter = _EnergyMeter(library, handle)
        return meter if meter._read() is not None else None

    def _read(self) -> Optional[int]:
        value = ctypes.c_ulonglong()
        return value.value if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value)) == 0 else None

    def joules(self) -> float:
        return (self._read() or 0) / 1e3  # millijoules since the driver was loaded


def profile(engine, inputs: Sequence[torch.Tensor], sizes: Dict[str, int]) -> List[Dict[str, Any]]:
    """The steps of an engine, the slowest first: name, tactic, micros, and where the problem is known gbytes_per_s, tflops and roofline, the share of the time
    that the machine's copy rate or its tensor cores (on a CPU: vector units) need at least. Steps run one by one: fused launches and overlaps do not show."""
    gbytes_per_s, tflops = _tuyere.target_rates(engine.target)
    rows = []
    for step in sorted(engine.profile(*inputs), key=lambda s: -s["micros"]):
        row = {key: step[key] for key in ("name", "tactic", "micros")}
        if step.get("problem") and step["micros"] > 0:
            moved, operations = _tuyere.problem_cost(step["problem"], sizes)
            row |= {"gbytes_per_s": moved / step["micros"] / 1e3, "tflops": operations / step["micros"] / 1e6}
            row["roofline"] = max(row["gbytes_per_s"] / gbytes_per_s, row["tflops"] / tflops)
        rows.append(row)
    return rows
