#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Single operators on the CPU: tuyere beside eager PyTorch, in one process, taking turns.

    python benchmarks/cpu_ops.py [--only softmax,attention] [--dtype fp32,bf16] [--threads 1] [--ms 120] [--markdown]

Per case: median milliseconds of both sides, their ratio (above 1: tuyere is faster), and the relative L2 errors against eager in float64.
"""

import argparse
import math
import statistics
import time
import warnings

import torch
import torch.nn.functional as F
import tuyere

CASES = []
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAST = torch.channels_last


class Op(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def case(name, function, *shapes, layout=None, positive=False):
    """Shapes of the inputs; a function makes an input of its own (indices, masks)."""
    CASES.append((name, function, shapes, layout, positive))


def indices(high, *shape):
    return lambda: torch.randint(0, high, shape)


def distinct(high, count):
    return lambda: torch.randperm(high)[:count]


def both_layouts(name, function, *shapes):
    case(f"{name} nchw", function, *shapes)
    case(f"{name} nhwc", function, *shapes, layout=LAST)


TOKENS, HIDDEN, MAPS = (128, 768), (128, 3072), (1, 64, 56, 56)
case("gelu", F.gelu, HIDDEN)
case("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), HIDDEN)
case("silu", F.silu, HIDDEN)
case("sigmoid", torch.sigmoid, HIDDEN)
case("tanh", torch.tanh, HIDDEN)
case("exp", torch.exp, HIDDEN)
case("log", torch.log, HIDDEN, positive=True)
case("erf", torch.erf, HIDDEN)
case("rsqrt", torch.rsqrt, HIDDEN, positive=True)
case("relu", torch.relu, HIDDEN)
case("hardswish", F.hardswish, HIDDEN)
case("softplus", F.softplus, HIDDEN)
case("sin", torch.sin, HIDDEN)
case("pow 2.5", lambda x: x**2.5, HIDDEN, positive=True)
case("add", torch.add, HIDDEN, HIDDEN)
case("bias gelu", lambda x, b: F.gelu(x + b), HIDDEN, (3072,))
case("swiglu", lambda x, y: F.silu(x) * y, HIDDEN, HIDDEN)
case("where", lambda c, x, y: torch.where(c > 0, x, y), HIDDEN, HIDDEN, HIDDEN)
both_layouts("scale shift relu", lambda x, s, b: torch.relu(x * s + b), MAPS, (1, 64, 1, 1), (1, 64, 1, 1))
case("to fp16", lambda x: x.to(torch.float16), HIDDEN)

case("softmax 128", lambda x: x.softmax(-1), (12, 128, 128))
case("softmax 197", lambda x: x.softmax(-1), (12, 197, 197))
case("softmax masked", lambda x, m: (x * 0.125 + m).softmax(-1), (12, 128, 128), (1, 1, 128))
case("softmax dim 1", lambda x: x.softmax(1), (4, 21, 64, 64))
case("log_softmax 30k", lambda x: x.log_softmax(-1), (16, 30522))
case("layer_norm", lambda x, w, b: F.layer_norm(x, (768,), w, b), TOKENS, (768,), (768,))
case("add layer_norm", lambda x, y, w, b: F.layer_norm(x + y, (768,), w, b), TOKENS, TOKENS, (768,), (768,))
case("rms_norm", lambda x, w: F.rms_norm(x, (2048,), w), (128, 2048), (2048,))
both_layouts("group_norm", lambda x, w, b: F.group_norm(x, 16, w, b), MAPS, (64,), (64,))
both_layouts("instance_norm", F.instance_norm, MAPS)

case("mean last", lambda x: x.mean(-1), HIDDEN)
case("sum first", lambda x: x.sum(0), HIDDEN)
case("sum all", lambda x: x.sum(), HIDDEN)
case("amax last", lambda x: x.amax(-1), HIDDEN)
case("var last", lambda x: x.var(-1), HIDDEN)
both_layouts("mean spatial", lambda x: x.mean((2, 3)), (4, 512, 14, 14))
case("argmax last", lambda x: x.argmax(-1), (64, 8192))
case("argmax dim 1", lambda x: x.argmax(1), (4, 21, 64, 64))
case("cumsum last", lambda x: x.cumsum(-1), (64, 4096))
case("cumsum first", lambda x: x.cumsum(0), (128, 1024))
case("topk 50 of 32000", lambda x: x.topk(50, -1), (4, 32000))
case("sort 1024", lambda x: x.sort(-1), (64, 1024))

case("embedding", lambda w, i: F.embedding(i, w), (8192, 768), indices(8192, 512))
case("index_select 1", lambda x, i: x.index_select(1, i), (64, 1024), indices(1024, 512))
case("index rows", lambda x, i: x[i], (1024, 256), indices(1024, 512))
case("index pairs", lambda x, i, j: x[:, i, j], (16, 64, 64), indices(64, 4096), indices(64, 4096))
case("gather", lambda x, i: x.gather(1, i), (128, 2048), indices(2048, 128, 1024))
case("scatter_add", lambda x, i, s: x.scatter_add(0, i, s), (512, 256), indices(512, 512, 256), (512, 256))
case("scatter", lambda x, i, s: x.scatter(1, i, s), (128, 2048), indices(2048, 128, 512), (128, 512))
case("index_put", lambda x, i, v: x.index_put((i,), v), (1024, 256), distinct(1024, 512), (512, 256))

both_layouts("max_pool 3x3/2", lambda x: F.max_pool2d(x, 3, 2, 1), (1, 64, 112, 112))
both_layouts("avg_pool 3x3", lambda x: F.avg_pool2d(x, 3, 1, 1), (1, 192, 35, 35))
both_layouts("adaptive_avg 6", lambda x: F.adaptive_avg_pool2d(x, 6), (1, 256, 24, 24))
both_layouts("adaptive_max 7", lambda x: F.adaptive_max_pool2d(x, 7), (1, 256, 24, 24))
both_layouts("nearest x2", lambda x: F.interpolate(x, scale_factor=2), (1, 64, 40, 40))
both_layouts("bilinear x2", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 64, 40, 40))
both_layouts("bicubic", lambda x: F.interpolate(x, (96, 96), mode="bicubic"), (1, 64, 40, 40))

case("transpose", lambda x: x.transpose(-1, -2).contiguous(), (8, 512, 512))
case("permute heads", lambda x: x.view(8, 128, 12, 64).transpose(1, 2).contiguous(), (8, 128, 768))
case("to nhwc", lambda x: x.permute(0, 2, 3, 1).contiguous(), (4, 64, 56, 56))
case("cat dim 1", lambda x, y: torch.cat([x, y], 1), MAPS, MAPS)
case("cat dim 1 nhwc", lambda x, y: torch.cat([x, y], 1), MAPS, MAPS, layout=LAST)
both_layouts("pad", lambda x: F.pad(x, (1, 1, 1, 1)), MAPS)
case("pad reflect", lambda x: F.pad(x, (3, 3, 3, 3), mode="reflect"), MAPS)
case("roll", lambda x: torch.roll(x, (3, 3), (1, 2)), (1, 56, 56, 96))

HEADS = (1, 12, 128, 64)
case("attention 128", F.scaled_dot_product_attention, HEADS, HEADS, HEADS)
case("attention 197", F.scaled_dot_product_attention, *[(1, 12, 197, 64)] * 3)
case("attention causal 1024", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *[(1, 12, 1024, 64)] * 3)
case("attention masked 512", F.scaled_dot_product_attention, *[(2, 12, 512, 64)] * 3, (2, 1, 1, 512))
case("attention gqa 512", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), (1, 16, 512, 64), *[(1, 4, 512, 64)] * 2)
case("attention decode", F.scaled_dot_product_attention, (4, 12, 1, 64), (4, 12, 1024, 64), (4, 12, 1024, 64))
case("attention windows 49", F.scaled_dot_product_attention, *[(64, 3, 49, 32)] * 3, (1, 3, 49, 49))


def make_inputs(shapes, layout, positive, dtype):
    made = []
    for shape in shapes:
        if callable(shape):
            made.append(shape())
            continue
        x = torch.randn(shape).to(dtype)
        x = x.abs() + 0.01 if positive else x
        made.append(x.contiguous(memory_format=layout) if layout is not None and x.dim() == 4 else x)
    return tuple(made)


def error(got, want):
    got, want = (t[0] if isinstance(t, tuple | list) else t for t in (got, want))
    norm = want.double().norm().item()
    return (got.double() - want.double()).norm().item() / norm if norm else 0.0


def take_turns(calls, milliseconds):
    """Median milliseconds of one call per side; a sample is as many calls as take about a third of a millisecond."""
    repeats = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        repeats.append(max(1, min(50, int(0.0003 / max(1e-6, time.perf_counter() - start)))))
    samples = [[] for _ in calls]
    end = time.perf_counter() + milliseconds * len(calls) / 1e3
    while time.perf_counter() < end or len(samples[0]) < 5:
        for call, repeat, times in zip(calls, repeats, samples, strict=True):
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            times.append((time.perf_counter() - start) / repeat * 1e3)
    return [statistics.median(times) for times in samples]


def run(entry, dtype, milliseconds):
    name, function, shapes, layout, positive = entry
    torch.manual_seed(1)
    inputs = make_inputs(shapes, layout, positive, DTYPES[dtype])
    want = function(*(x.double() if x.is_floating_point() else x for x in inputs))
    eager = Op(function)
    program = tuyere.compile(eager, inputs)
    errors = error(program(*inputs), want), error(eager(*inputs), want)
    ours, theirs = take_turns([lambda: program(*inputs), lambda: eager(*inputs)], milliseconds)
    return f"{name} {dtype}", ours, theirs, theirs / ours, *errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="comma-separated parts of case names")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ms", type=float, default=120, help="timing per case and side")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(args.threads)
    header, line = ("| {:30s} | {:>9s} | {:>9s} | {:>6s} | {:>8s} | {:>8s} |", "| {:30s} | {:9.3f} | {:9.3f} | {:6.2f} | {:8.1e} | {:8.1e} |")
    if not args.markdown:
        header, line = header.replace("|", ""), line.replace("|", "")
    print(header.format("case", "tuyere ms", "eager ms", "ratio", "error", "eager's"))
    if args.markdown:
        print("|---" * 6 + "|")
    ratios = []
    with torch.no_grad():
        for dtype in args.dtype.split(","):
            for entry in CASES:
                if any(part in entry[0] for part in args.only.split(",")):
                    row = run(entry, dtype, args.ms)
                    ratios.append(row[3])
                    print(line.format(*row), flush=True)
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"{args.threads} thread(s); {len(ratios)} cases, geometric mean {mean:.2f}, {sum(r < 1 for r in ratios)} below 1")


if __name__ == "__main__":
    main()
