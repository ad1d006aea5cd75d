#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The main job: compiles ResNet-50, BERT-base and ViT-B/16 with tuyere, and prints coverage, the error against float64, and times beside eager
and inductor. On a GPU machine it runs on the GPU in fp16, elsewhere on the CPU in fp32.

    python benchmarks/demo.py [--models resnet50,bert,vit_b_16] [--dtype fp32] [--device cpu] [--seconds 3] [--no-inductor]
"""

import argparse
import copy
import statistics
import time

import torch
import tuyere
from models import make

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def error(got, want):
    return float((got.double().cpu() - want).norm() / want.norm())


def cast(inputs, dtype, device):
    return tuple(x.to(device, dtype) if x.is_floating_point() else x.to(device) for x in inputs)


def timed(call, device):
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def take_turns(calls, device, seconds):
    """Median milliseconds per engine; the engines take turns, so that a noisy neighbour hits all of them."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or min(map(len, times.values())) < 5:
        for name, call in calls.items():
            times[name].append(timed(call, device))
    return {name: statistics.median(t) for name, t in times.items()}


def run(name, args):
    print(f"\n== {name}, {args.dtype} on {args.device}", flush=True)
    model, inputs = make(name)
    with torch.no_grad():
        want = copy.deepcopy(model).double()(*(x.double() if x.is_floating_point() else x for x in inputs))
        model = model.to(args.device, DTYPES[args.dtype])
        inputs = cast(inputs, DTYPES[args.dtype], args.device)
        start = time.perf_counter()
        program = tuyere.compile(model, inputs, progress=True)
        print(str(program.report()).splitlines()[0])
        print(
            f"   built in {time.perf_counter() - start:.1f} s; relative L2 error against float64: tuyere {error(program(*inputs), want):.2e}, eager {error(model(*inputs), want):.2e}"
        )
        calls = {"eager": lambda: model(*inputs), "tuyere": lambda: program(*inputs)}
        if not args.no_inductor:
            inductor = torch.compile(model)
            calls["inductor"] = lambda: inductor(*inputs)
        medians = take_turns(calls, args.device, args.seconds)
    for engine, ms in medians.items():
        print(f"   {engine:9s} {ms:9.2f} ms   {medians['eager'] / ms:5.2f}x of eager")


def main():
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet50,bert,vit_b_16")
    parser.add_argument("--dtype", default="fp16" if cuda else "fp32", choices=DTYPES)
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-inductor", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    for name in args.models.split(","):
        run(name, args)


if __name__ == "__main__":
    main()
