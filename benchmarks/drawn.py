#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models drawn at random from timm, torchvision and transformers, in turns with inductor's best mode on a GPU: one JSON line per model.

    python benchmarks/drawn.py [--seed 1] [--count 24] [--dtype fp16] [--shard 0/2] [--jobs 1] [--out drawn.jsonl] [--resume] [--models timm/resnet18,...]
    python benchmarks/drawn.py --table drawn.jsonl

Half of them are timm's, a quarter each torchvision's and transformers'; random weights, images 32 at a time, texts 16 x 128. Each model runs in a process with a time limit. Times are CUDA events
around batches of calls of about 50 ms, median of turns; inductor has channels_last, freezing and reduce-overhead. --resume leaves out what the file has for this commit. With --jobs inductor compiles some models side by side; while one is tuned or timed, the others stand still.
"""

import argparse
import concurrent.futures
import contextlib
import fcntl
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 100e6  # parameters
BACKENDS = ("inductor", "tuyere")
STAGE = "stage: "  # begins lines by which a process says what it is at
DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}

# transformers: model class -> kind of input; their default configurations are the base models
TRANSFORMERS = {
    "DistilBertModel": "text", "RobertaModel": "text", "ElectraModel": "text", "AlbertModel": "text", "MPNetModel": "text", "XLMRobertaModel": "text", "DebertaV2Model": "text",
    "ModernBertModel": "text", "GPTNeoModel": "text", "OPTModel": "text", "CodeGenModel": "text", "T5EncoderModel": "text", "XGLMModel": "text", "RoFormerModel": "text",
    "ViTModel": "image", "DeiTModel": "image", "BeitModel": "image", "Dinov2Model": "image", "SwinModel": "image", "ConvNextModel": "image", "ConvNextV2Model": "image",
    "SegformerModel": "image", "PvtV2Model": "image", "CLIPVisionModel": "image", "SiglipVisionModel": "image", "RegNetModel": "image", "ResNetModel": "image", "BitModel": "image",
    "MobileViTModel": "image", "MobileNetV2Model": "image", "EfficientNetModel": "image", "Wav2Vec2Model": "audio", "HubertModel": "audio", "WavLMModel": "audio",
}  # fmt: skip


def draw(seed, count):
    """`count` names, always the same ones for a seed and the installed versions."""
    import timm
    import torchvision

    choose = random.Random(seed)
    images = ["torchvision/" + n for n in sorted(torchvision.models.list_models(module=torchvision.models))]
    texts = ["transformers/" + n for n in sorted(TRANSFORMERS)]
    picked = choose.sample(images, count // 4) + choose.sample(texts, count // 4)
    candidates = ["timm/" + n for n in timm.list_models()]
    choose.shuffle(candidates)
    for name in candidates:
        if len(picked) == count:
            break
        if small(name):
            picked.append(name)
    return picked


def small(name):
    """Whether a timm model has at most LARGEST parameters and takes images of at most 256 pixels."""
    import timm
    import torch

    size = timm.models.get_pretrained_cfg(name.partition("/")[2])
    if size is not None and max(size.input_size) > 256:
        return False
    with torch.device("meta"):
        try:
            return sum(p.numel() for p in timm.create_model(name.partition("/")[2]).parameters()) <= LARGEST
        except (RuntimeError, NotImplementedError):
            return False  # cannot be made without values


def make(name):
    """(module, inputs)"""
    import torch
    from models import VISION, vision

    library, _, leaf = name.partition("/")
    if library == "timm":
        import timm

        model = timm.create_model(leaf)
        return model, (torch.randn(32, *model.default_cfg.get("input_size", (3, 224, 224))),)
    if library == "torchvision":
        return vision(leaf, 32, VISION.get(leaf, 224))
    return of_transformers(leaf)


def of_transformers(leaf):
    import torch
    import transformers
    from models import OneOutput

    made = getattr(transformers, leaf)
    config = made.config_class()
    config.use_cache = False
    kind = TRANSFORMERS[leaf]
    if kind == "text":
        inputs = torch.randint(3, min(config.vocab_size, 20000), (16, 128))
    elif kind == "image":
        size = getattr(config, "image_size", 224)
        inputs = torch.randn(32, 3, *([size, size] if isinstance(size, int) else size))
    else:
        inputs = torch.randn(8, 16000)
    return OneOutput(made(config), "last_hidden_state"), (inputs,)


def compiled(backend, model):
    """Both stay compiled: torch._dynamo.reset() would make the other compile again, with whatever is configured by then."""
    import torch

    torch._inductor.config.freezing = backend == "inductor"
    return torch.compile(model, mode="reduce-overhead") if backend == "inductor" else torch.compile(model, backend="tuyere")


def turns(calls, count=12, seconds=0.05):
    """Milliseconds of device time per call of each: medians of batches that take turns."""
    import torch

    def batch(call, repeats):
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / repeats

    repeats = {name: max(1, min(200, int(1e3 * seconds / max(batch(call, 5), 1e-3)))) for name, call in calls.items()}
    found = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            found[name].append(batch(call, repeats[name]))
    return {name: (statistics.median(times[2:]), min(times[2:]), max(times[2:])) for name, times in found.items()}


@contextlib.contextmanager
def turn(path, alone):
    """The GPU alone, or beside others that compile: of the processes that were given the same file. Who waits to be alone keeps others from beginning."""
    with open(path + ".gate", "w") as gate, open(path, "w") as file:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def build(backend, model, inputs):
    """(the compiled model, its last result, seconds)"""
    import torch

    started = time.perf_counter()
    call = compiled(backend, model)
    for _ in range(4):
        result = first(call(*inputs))
    torch.cuda.synchronize()
    return call, result, round(time.perf_counter() - started, 1)


def prepare(name, dtype):
    """(model, inputs, eager's float32 result as float64), on the GPU and as both back ends are given them"""
    import copy

    import torch
    from models import settle

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    model, inputs = make(name)
    model = settle(model.eval(), tuple(x[:4] for x in inputs)).cuda()
    inputs = tuple(x.cuda() for x in inputs)
    reference = first(copy.deepcopy(model)(*inputs)).double()
    dtype = getattr(torch, DTYPES[dtype])
    model, inputs = model.to(dtype), tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)
    if inputs[0].dim() == 4:
        inputs = tuple(x.contiguous(memory_format=torch.channels_last) for x in inputs)
        with contextlib.suppress(RuntimeError):  # weights of other ranks than an image's
            model = model.to(memory_format=torch.channels_last)
    return model, inputs, reference


def measure(name, dtype, lock):
    import copy

    import torch

    begun = time.perf_counter()
    with turn(lock, alone=False):
        model, inputs, reference = prepare(name, dtype)
        row, calls = {"eager_error": far(first(model(*inputs)), reference)}, {}
    for backend in BACKENDS:
        gc.collect()
        torch.cuda.empty_cache()
        try:
            enter(f"{backend}'s turn", begun)
            with turn(lock, alone=backend == "tuyere"):
                enter(f"{backend} builds", begun)
                call, result, seconds = build(backend, copy.deepcopy(model), inputs)
        except Exception as error:
            row[backend] = {"error": f"{type(error).__name__}: {error}"[:600]}
            continue
        row[backend] = {"build_s": seconds, "far": far(result, reference)}
        calls[backend] = lambda call=call: call(*inputs)
    enter("waits to be timed", begun)
    with turn(lock, alone=True):
        timed = turns(calls)
    for backend, (median, least, most) in timed.items():
        row[backend] |= {"ms": median, "least": least, "most": most}
    return row | {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}


def enter(stage, begun):
    print(f"{STAGE}{stage} at {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def first(result):
    return result[0] if isinstance(result, (tuple, list)) else result


def far(result, reference):
    return float((result.double() - reference).norm() / reference.norm())


def table(path):
    rows, factors = load(path), []
    print("| model | inductor, ms | tuyere, ms | factor | error beside eager's | build s |\n|---|---|---|---|---|---|")
    for name, row in sorted(rows.items()):
        ours, theirs = row.get("tuyere", {}), row.get("inductor", {})
        if "ms" in ours and "ms" in theirs:
            factors.append(theirs["ms"] / ours["ms"])
            error = f"{ours['far'] / max(row['eager_error'], 1e-12):.2f}"
            print(f"| {name} | {theirs['ms']:.3f} | {ours['ms']:.3f} | {factors[-1]:.2f} | {error} | {ours['build_s']} |")
        else:
            print(f"| {name} | {theirs.get('ms', theirs.get('error', ''))} | {ours.get('ms', ours.get('error', row.get('failed', '')))} | | | |")
    if factors:
        print(f"\nGeometric mean {math.exp(statistics.mean(map(math.log, factors))):.2f}, least {min(factors):.2f}, {len(factors)} models.")


def load(path):
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return {row["model"]: row for row in map(json.loads, file)}


def drive(names, options):
    from sweep import commit

    here = commit()
    done = {n for n, row in load(options.out).items() if row["commit"] == here} if options.resume else set()
    names = [n for n in names if n not in done]
    with tempfile.NamedTemporaryFile() as lock, concurrent.futures.ThreadPoolExecutor(options.jobs) as jobs:
        running = {jobs.submit(measured, name, options, lock.name): name for name in names}
        for number, job in enumerate(concurrent.futures.as_completed(running)):
            name = running[job]
            row = {"model": name, "commit": here, "dtype": options.dtype, "date": time.strftime("%Y-%m-%d")} | job.result()
            with open(options.out, "a") as file:
                file.write(json.dumps(row) + "\n")
            said = " ".join(f"{b} {row[b].get('ms', row[b].get('error'))}" for b in BACKENDS if b in row) or row["failed"].strip()[-150:]
            print(f"[{number + 1}/{len(names)}] {name}: {said}", flush=True)


def measured(name, options, lock):
    """What a process of its own found, or how it failed."""
    command = [sys.executable, __file__, "--measure", name, "--dtype", options.dtype, "--lock", lock]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired as late:
        stages = [line for line in (late.stderr or b"").decode(errors="replace").splitlines() if line.startswith(STAGE)]
        return {"failed": f"over {options.limit:.0f} s: {', '.join(line.removeprefix(STAGE) for line in stages)}"}
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else {"failed": run.stderr[-600:]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--dtype", default="fp16", choices=sorted(DTYPES))
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--jobs", type=int, default=1, help="models compiled side by side")
    parser.add_argument("--out", default="drawn.jsonl")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--limit", type=float, default=180, help="seconds per model")
    parser.add_argument("--models", help="names instead of a draw")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--lock", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]
    if options.measure:
        print(json.dumps(measure(options.measure, options.dtype, options.lock)))
        return
    if options.table:
        table(options.table)
        return
    index, count = map(int, options.shard.split("/"))
    names = options.models.split(",") if options.models else draw(options.seed, options.count)
    names = names[index::count]
    if options.list:
        print("\n".join(names))
        return
    import torch

    if not torch.cuda.is_available():
        parser.error("no GPU that PyTorch can use; --list and --table need none")
    drive(names, options)


if __name__ == "__main__":
    main()
