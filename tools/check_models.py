#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks whole models, and exits with 1 when one fails. For each model, dtype and set of tactics:

- it becomes exactly one engine, with nothing hosted and nothing outside, through tuyere.compile and through torch.compile;
- the relative L2 error of both against float64 is at most 1.5x eager's in the same dtype (median over the seeds, floor 4 eps). Each seed has
  other weights and inputs; the engines are built once and refitted;
- saved, loaded and run in a process that never saw the model it gives the same bits.

  python tools/check_models.py [--device cpu] [--models resnet18,bert] [--dtypes fp32] [--seeds 3] [--sources default,own] [--tiny] [--level 3] [--json FILE]
"""

import argparse
import copy
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import tuyere  # noqa: E402

from benchmarks import models  # noqa: E402

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
EPS = {"fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
HEADER = (
    f"{'model':20s} {'dtype':5s} {'tactics':8s} {'eager':>9s} {'compile':>9s} {'ratio':>6s} {'dynamo':>9s} {'ratio':>6s} {'build s':>8s} {'wall s':>7s}  result"
)


def cast(values, device, dtype):
    return tuple(x.to(device, dtype) if x.is_floating_point() else x.to(device) for x in values)


def error(got, want):
    """Relative L2 error; infinite for a result of another shape or with NaN."""
    got = got.double()
    if got.shape != want.shape or not torch.isfinite(got).all():
        return float("inf")
    return float((got - want).norm() / want.norm())


class Loader:
    """A process that runs saved programs and says whether the result has the same bits. It starts with the first question."""

    SCRIPT = (
        "import sys, torch, tuyere\n"
        "for line in sys.stdin:\n"
        "    program, data = line.split('\\t')\n"
        "    try:\n"
        "        inputs, want = torch.load(data.strip())\n"
        "        with torch.no_grad():\n"
        "            got = tuyere.load(program)(*inputs)\n"
        "        same = got.dtype == want.dtype and got.shape == want.shape and torch.equal(got.contiguous().view(torch.uint8), want.contiguous().view(torch.uint8))\n"
        "        answer = 'same' if same else 'other bits after loading'\n"
        "    except Exception as e:\n"
        "        answer = f'loading failed: {type(e).__name__}: {e}'.replace('\\n', ' ')\n"
        "    print('answer ' + answer, flush=True)\n"
    )

    def __init__(self):
        self.process = None

    def same_bits(self, program, inputs, want):
        """None, or what is wrong."""
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, "-c", self.SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with tempfile.TemporaryDirectory() as folder:
            torch.save((inputs, want), f"{folder}/data.pt")
            program.save(f"{folder}/model.pt2")
            self.process.stdin.write(f"{folder}/model.pt2\t{folder}/data.pt\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith("answer "):
                    answer = line[len("answer ") :].strip()
                    return None if answer == "same" else answer
        self.process = None
        return "the loading process died"

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def seeded(name, seed, tiny):
    torch.manual_seed(seed)
    return models.make(name, tiny=tiny)


def exact(model, inputs, device):
    """The float64 result."""
    twin = copy.deepcopy(model).to(device, torch.float64)
    return twin(*cast(inputs, device, torch.float64))


def refit(program, model):
    state = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    for engine in program.engines:
        engine.refit({name: state[name] for name in engine.refittable()})


def coverage(report, problems, path):
    counts = (report.num_engines, report.num_hosted, report.num_outside)
    if counts != (1, 0, 0):
        problems.append(f"{path}: {counts[0]} engines, {counts[1]} hosted, {counts[2]} outside")


def over_bound(ours, eager, dtype):
    return not ours <= max(1.5 * eager, 4 * EPS[dtype])


def measure(name, dtype, options, args, loader, problems):
    """Errors per seed of (eager, tuyere.compile, torch.compile), and the seconds of the two builds."""
    torch.compiler.reset()
    errors, program, compiled, model = [], None, None, None
    for seed in range(args.seeds):
        fresh, inputs = seeded(name, seed, args.tiny)
        want = exact(fresh, inputs, args.device)
        fresh, inputs = fresh.to(args.device, DTYPES[dtype]), cast(inputs, args.device, DTYPES[dtype])
        if program is None:
            model, start = fresh, time.perf_counter()
            program = tuyere.compile(model, inputs, **options)
            coverage(program.report(), problems, "tuyere.compile")
            got = program(*inputs)
            tuyere.clear_reports()
            compiled = torch.compile(model, backend="tuyere", options=options)
            compiled(*inputs)
            seconds = time.perf_counter() - start
            coverage(tuyere.reports()[0], problems, "torch.compile")
            if wrong := loader.same_bits(program, inputs, got):
                problems.append(wrong)
        else:
            model.load_state_dict(fresh.state_dict())
            refit(program, model)
            got = program(*inputs)
        errors.append((error(model(*inputs), want), error(got, want), error(compiled(*inputs), want)))
    if len(tuyere.reports()) != 1:
        problems.append(f"torch.compile: {len(tuyere.reports())} graphs")
    return [statistics.median(column) for column in zip(*errors)], seconds


def check(name, dtype, sources, args, loader):
    """A row of the table as a dict."""
    options = {"strict": True, "optimization_level": args.level}
    if sources == "own":  # on the CPU some operators have nothing but their reference
        options["tactic_sources"] = ["own"] if args.device.startswith("cuda") else ["own", "reference"]
    row, problems, start = dict(model=name, dtype=dtype, tactics=sources), [], time.perf_counter()
    try:
        with torch.no_grad():
            (eager, ours, dynamo), build = measure(name, dtype, options, args, loader, problems)
        row |= dict(eager=eager, compile=ours, dynamo=dynamo, build_s=build)
        problems += [
            f"{path} {e / max(eager, 1e-30):.2f}x of eager's error"
            for path, e in (("tuyere.compile", ours), ("torch.compile", dynamo))
            if over_bound(e, eager, dtype)
        ]
    except Exception as e:
        problems.append(f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:300])
    return row | dict(wall_s=time.perf_counter() - start, problems=problems)


def line(row):
    numbers = " " * 52
    if "eager" in row:
        floor = max(row["eager"], 1e-30)
        numbers = (
            f"{row['eager']:9.2e} {row['compile']:9.2e} {row['compile'] / floor:6.2f} {row['dynamo']:9.2e} {row['dynamo'] / floor:6.2f} {row['build_s']:8.1f}"
        )
    return f"{row['model']:20s} {row['dtype']:5s} {row['tactics']:8s} {numbers} {row['wall_s']:7.1f}  {'; '.join(row['problems']) or 'ok'}"


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--models", default=",".join(models.ALL))
    p.add_argument("--dtypes", help="comma-separated: fp32, fp16, bf16 (default: fp32 on the CPU, all on a GPU)")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--sources", default="default", help="comma-separated: default (all tactics), own")
    p.add_argument("--own", dest="sources", action="store_const", const="own", help="the same as --sources own")
    p.add_argument("--tiny", action="store_true", help="small images and transformer configurations, same operators")
    p.add_argument("--level", type=int, default=3, help="optimization_level")
    p.add_argument("--json", help="write the rows to this file")
    args = p.parse_args()
    args.dtypes = args.dtypes or ("fp32" if args.device == "cpu" else "fp32,fp16,bf16")
    return args


def main():
    args, rows, loader = parse(), [], Loader()
    print(HEADER, flush=True)
    for name in args.models.split(","):
        for dtype in args.dtypes.split(","):
            for sources in args.sources.split(","):
                rows.append(check(name, dtype, sources, args, loader))
                print(line(rows[-1]), flush=True)
                gc.collect()
                if args.device.startswith("cuda"):
                    torch.cuda.empty_cache()
        if args.json:
            Path(args.json).write_text(json.dumps(rows, indent=1))
    loader.close()
    failed = sum(bool(row["problems"]) for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
