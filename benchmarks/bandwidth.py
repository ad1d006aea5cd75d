#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bandwidth of the generated kernels for large tensors beside a plain copy, on a GPU: the operations that cannot be faster than memory.

    python benchmarks/bandwidth.py [--only norm,softmax] [--dtypes fp16,fp32]

Bytes are those of inputs and outputs, each once; the copy is torch's, between two buffers. Median of CUDA events over batches of calls, in turns with the copy.
"""

import argparse
import statistics

import torch
import tuyere
from torch import nn
from torch.nn import functional as F

ROWS, WIDTH = 65536, 1024  # 128 MiB in fp16: more than twice the L2 cache
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def rotate(x, cos, sin):
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def matrix(dtype):
    return torch.randn(ROWS, WIDTH, device="cuda", dtype=dtype)


def images(dtype):
    return torch.randn(64, 256, 64, 64, device="cuda", dtype=dtype)


def weights(*sizes, dtype):
    return [torch.randn(size, device="cuda", dtype=dtype) for size in sizes]


def cases(dtype):
    """(name, function, inputs)"""
    x, y, v, w = matrix(dtype), matrix(dtype), *weights(WIDTH, WIDTH, dtype=dtype)
    nchw, nhwc = images(dtype), images(dtype).contiguous(memory_format=torch.channels_last)
    large = torch.randn(4, 256, 256, 256, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)
    heads = torch.randn(8, 16, 4096, 128, device="cuda", dtype=dtype)
    cos, sin = torch.randn(2, 4096, 128, device="cuda", dtype=dtype)
    small = torch.randint(-128, 127, (ROWS, WIDTH), device="cuda", dtype=torch.int8)
    half = torch.float16 if dtype == torch.float32 else torch.float32
    return [
        ("add", lambda a, b: a + b, (x, y)),
        ("bias + gelu", lambda a, b: F.gelu(a + b), (x, v)),
        ("gated silu", lambda a, b: F.silu(a) * b, (x, y)),
        ("glu", lambda a: F.glu(a), (x,)),
        ("two results", lambda a, b: (a + b, (a + b).relu()), (x, y)),
        (f"cast to {half}".replace("torch.", ""), lambda a: a.to(half), (x,)),
        ("int8 scaled", lambda a, b: a.to(dtype) * b, (small, v)),
        ("layer norm", lambda a, b, c: F.layer_norm(a, (WIDTH,), b, c), (x, v, w)),
        ("residual + layer norm", lambda a, r, b, c: F.layer_norm(a + r, (WIDTH,), b, c), (x, y, v, w)),
        ("residual + rms norm, both kept", lambda a, r, b: (a + r, F.rms_norm(a + r, (WIDTH,), b)), (x, y, v)),
        ("softmax", lambda a: a.softmax(-1), (x,)),
        ("log softmax", lambda a: a.log_softmax(-1), (x,)),
        ("softmax over columns", lambda a: a.view(64, 1024, WIDTH).softmax(1), (x,)),
        ("log softmax over columns", lambda a: a.view(64, 1024, WIDTH).log_softmax(1), (x,)),
        ("softmax over short columns", lambda a: a.view(1024, 64, WIDTH).softmax(1), (x,)),
        ("softmax over long columns", lambda a: a.view(4, 16384, WIDTH).softmax(1), (x,)),
        ("softmax over all columns", lambda a: a.softmax(0), (x,)),
        ("sum of rows", lambda a: a.sum(-1), (x,)),
        ("sum of columns", lambda a: a.sum(0), (x,)),
        ("sum of all", lambda a: a.sum(), (x,)),
        ("max of rows", lambda a: a.amax(-1), (x,)),
        ("argmax of rows", lambda a: a.argmax(-1), (x,)),
        ("argmax of columns", lambda a: a.argmax(0), (x,)),
        ("cumsum of rows", lambda a: a.cumsum(-1), (x,)),
        ("transpose", lambda a: a.t().contiguous(), (x,)),
        ("to channels last", lambda a: a.contiguous(memory_format=torch.channels_last), (nchw,)),
        ("from channels last", lambda a: a.contiguous(memory_format=torch.contiguous_format), (nhwc,)),
        ("heads apart", lambda a: a.view(16, 4096, 8, 128).transpose(1, 2).contiguous(), (x,)),
        ("rotary embedding", rotate, (heads, cos, sin)),
        ("concatenation", lambda a, b: torch.cat([a, b], 1), (x, y)),
        ("max pool 2x2, channels last", lambda a: F.max_pool2d(a, 2), (nhwc,)),
        ("mean of images, channels last", lambda a: a.mean((2, 3)), (nhwc,)),
        ("max pool 3x3, channels last", lambda a: F.max_pool2d(a, 3, 2, 1), (nhwc,)),
        ("group norm, channels last", lambda a: F.group_norm(a, 32), (nhwc,)),  # eager's result, and so ours, is row-major
        ("group norm, channels last twice", lambda a: F.group_norm(a, 32).contiguous(memory_format=torch.channels_last), (nhwc,)),
        ("group norm of large images", lambda a: F.group_norm(a, 32), (large,)),
        ("group norm, row-major", lambda a: F.group_norm(a, 32), (nchw,)),
        ("resize x2, channels last", lambda a: F.interpolate(a, scale_factor=2.0), (nhwc,)),
    ]


def milliseconds(calls, repeats=12, batch=10):
    """Of each call: the median over batches that take turns."""
    for call in calls:
        for _ in range(3):
            call()
    times = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, times):
            begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
            begin.record()
            for _ in range(batch):
                call()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end) / batch)
    return [statistics.median(found) for found in times]


def measure(name, function, inputs, source, target):
    program = tuyere.compile(Function(function), inputs, strict=True)
    with torch.no_grad():
        outputs = program(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = function(*inputs)
    for got, want in zip(outputs, wanted if isinstance(wanted, tuple) else (wanted,)):
        torch.testing.assert_close(got.double(), want.double(), rtol=3e-2, atol=3e-2 * max(1.0, want.double().abs().max().item()))
    moved = sum(t.numel() * t.element_size() for t in (*inputs, *outputs))
    with torch.no_grad():
        ours, copy = milliseconds([lambda: program(*inputs), lambda: target.copy_(source)])
    rate, copied = moved / ours / 1e6, 2 * source.numel() * source.element_size() / copy / 1e6
    tactics = ", ".join(f"{step['tactic']} {step['config']}" for engine in program.engines for step in engine.steps)
    print(f"{name:32s} {moved / 1e6:8.0f} {ours * 1e3:9.1f} {rate:8.0f} {copied:8.0f} {rate / copied:6.0%}  {tactics}", flush=True)
    return rate / copied


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="parts of names")
    parser.add_argument("--dtypes", default="fp16,fp32")
    args = parser.parse_args()
    for dtype in args.dtypes.split(","):
        source = matrix(DTYPES[dtype])
        target = torch.empty_like(source)
        print(f"-- {dtype}\n{'operation':32s} {'MB':>8s} {'us':>9s} {'GB/s':>8s} {'copy':>8s} {'':>6s}  tactics")
        below = []
        for name, function, inputs in cases(DTYPES[dtype]):
            if any(part in name for part in args.only.split(",")):
                try:
                    if measure(name, function, inputs, source, target) < 0.9:
                        below.append(name)
                except Exception as error:
                    print(f"{name:32s} FAILED {type(error).__name__}: {str(error)[:200]}", flush=True)
        print("below 90 %:", ", ".join(below) or "none")


if __name__ == "__main__":
    main()
