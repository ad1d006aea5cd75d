# SPDX-License-Identifier: Apache-2.0
"""The `tuyere` command: look into engine files, run them, time them, and see what this machine has."""

import argparse
import json
import sys
from pathlib import Path

import torch

from . import Engine, doctor
from .bench import measure, profile
from .engine_file import EngineFile
from .read_fx import TORCH_DTYPES


def inspect(args):
    file = EngineFile.read(args.engine)
    if args.json:
        print(json.dumps({"metadata": {k: v for k, v in file.metadata.items() if k != "tuyere"}, "plan": file.plan}, indent=1))
    elif args.network:
        print(file.plan.get("meta", {}).get("network", ""))
    elif args.problems:
        print("\n".join(dict.fromkeys(s["problem"] for s in file.steps if s.get("problem"))))
    else:
        print(file)


def _sizes(texts):
    sizes = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value.isdigit():
            raise ValueError(f"--size {text}: expected NAME=NUMBER")
        sizes[name] = int(value)
    return sizes


def _random(dtype, shape, generator):
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.zeros(shape, dtype=dtype)  # indices that are always in range


def _load(args):
    """(engine, inputs): from --input files, random or zero where there is none."""
    file = EngineFile.read(args.engine)
    engine = Engine.load(args.engine, args.device)
    names = [io["name"] for io in file.io("inputs")]
    given = dict(text.split("=", 1) for text in args.input if "=" in text)
    if len(given) != len(args.input) or set(given) - set(names):
        raise ValueError(f"--input takes NAME=FILE.npy, with NAME one of: {', '.join(names)}")
    generator, sizes, inputs = torch.Generator().manual_seed(args.seed), file.sizes(_sizes(args.size)), []
    for io in file.io("inputs"):
        if io["name"] in given:
            inputs.append(_read_npy(given[io["name"]]))
        else:
            inputs.append(_random(TORCH_DTYPES[io["dtype"]], file.shape(io, sizes), generator))
    device = "cpu" if file.plan["target"] == "cpu" else f"cuda:{args.device}"
    return file, engine, [x.to(device) for x in inputs]


def _read_npy(path):
    import numpy as np

    return torch.from_numpy(np.load(path, allow_pickle=False))


def _summary(name, tensor):
    text = f"{name}: {str(tensor.dtype)[6:]}{list(tensor.shape)}"
    if tensor.numel() and tensor.dtype != torch.bool:
        values = tensor.double()
        text += f" mean {values.mean().item():.6g} min {values.min().item():.6g} max {values.max().item():.6g}"
    return text


def run(args):
    file, engine, inputs = _load(args)
    for io, tensor in zip(file.io("outputs"), engine(*inputs)):
        print(_summary(io["name"], tensor))
        if args.output:
            import numpy as np

            args.output.mkdir(parents=True, exist_ok=True)
            np.save(args.output / f"{io['name'].replace('/', '_')}.npy", (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy())


def bench(args):
    file, engine, inputs = _load(args)
    timing = measure(engine, inputs, args.seconds, args.warmup)
    steps = profile(engine, inputs, file.sizes(_sizes(args.size))) if args.profile else []
    memory = {"weight_bytes": engine.weight_bytes, "arena_bytes": engine.arena_bytes}
    if args.json:
        print(json.dumps({**timing.to_dict(), "mode": engine.mode, **memory, "steps": steps}, indent=1))
        return
    print(f"{timing}\nran as {engine.mode}; weights {engine.weight_bytes / 1e6:.2f} MB, arena {engine.arena_bytes / 1e6:.2f} MB")
    for step in steps:
        rates = f"{step['gbytes_per_s']:8.0f} GB/s {step['tflops']:8.2f} TFLOP/s {step['roofline']:5.0%}" if "roofline" in step else " " * 37
        print(f"  {step['micros']:9.1f} us {rates}  {step['tactic']:32s} {step['name']}")


def env(args):
    print(doctor.report())


def _parser():
    parser = argparse.ArgumentParser(prog="tuyere", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(function, text):
        command = commands.add_parser(function.__name__, help=text, description=text)
        command.set_defaults(function=function)
        return command

    def add_engine(command):
        command.add_argument("engine", help="an engine file")
        return command

    command = add_engine(add(inspect, "show inputs, sizes, steps and tactics of an engine file, also of one for another machine"))
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole plan as JSON")
    form.add_argument("--network", action="store_true", help="the optimized network as text")
    form.add_argument("--problems", action="store_true", help="the problems that tuyere-bench takes, one a line")

    def add_inputs(command):
        command.add_argument(
            "--input", action="append", default=[], metavar="NAME=FILE.npy", help="data of an input; otherwise random floats, zeros for integers"
        )
        command.add_argument("--size", action="append", default=[], metavar="NAME=NUMBER", help="a dynamic size; otherwise what the engine was tuned for")
        command.add_argument("--device", type=int, default=0, help="which GPU, for a GPU engine")
        command.add_argument("--seed", type=int, default=0)

    command = add_engine(add(run, "run an engine file once"))
    add_inputs(command)
    command.add_argument("--output", type=Path, metavar="FOLDER", help="write the outputs there as .npy")
    command = add_engine(add(bench, "time an engine file: latency, throughput, the share of host, device and transfers, energy"))
    add_inputs(command)
    command.add_argument("--seconds", type=float, default=2.0)
    command.add_argument("--warmup", type=float, default=0.5, help="seconds of calls that are not counted")
    command.add_argument("--profile", action="store_true", help="also the time of each step, its rates, and its share of what the machine can do")
    command.add_argument("--json", action="store_true", help="everything as JSON")
    add(env, "show versions, the libraries that are found here, GPUs and environment variables")
    return parser


def main(argv=None) -> int:
    args = _parser().parse_args(argv)
    try:
        args.function(args)
    except BrokenPipeError:  # | head
        return 0
    except (OSError, RuntimeError, ValueError) as error:
        print(f"tuyere {args.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
