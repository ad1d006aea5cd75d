#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a call costs beside the engine's own work, on the CPU: microseconds in tight loops that take turns.

    python benchmarks/host_cost.py [--seconds 2]

engine: the loaded engine on bound tensors; op: tuyere::execute through the dispatcher; program: a Program of tuyere.compile; backend: torch.compile with
backend="tuyere"; nothing: torch.compile with a back end whose graphs return a stored result; watch: the look at the weights alone.
Large models are stand-ins with the same number of weights and hardly any work.
"""

import argparse
import copy
import time
import warnings

import torch
import tuyere
from torch._dynamo.backends.common import aot_autograd
from tuyere.engine import describe


def tower(weights):
    """A model of that many parameters and buffers."""

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = torch.nn.ParameterList([torch.nn.Parameter(torch.rand(8)) for _ in range(weights)])

        def forward(self, x):
            total = self.scales[0]
            for scale in list(self.scales)[1:]:
                total = total + scale
            return x * total

    return Tower()


def mlp():
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))


MODELS = {"MLP, 4 weights": mlp, "ConvNeXt-T's 180 weights": lambda: tower(180), "ResNet-50's 267 weights": lambda: tower(267)}


def backend_that_does_nothing(results):
    def compiler(gm, inputs):
        def run(args):
            args.clear()
            return list(results)

        run._boxed_call = True
        return run

    return aot_autograd(fw_compiler=compiler)


def best(calls, seconds):
    """Of each call: microseconds of the fastest of many short loops, in turns. Time of this thread, which does all the work: other programs do not count."""
    loops, found = 100, {}
    for call in calls.values():
        for _ in range(20):
            call()
    end = time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        for name, call in calls.items():
            start = time.thread_time()
            for _ in range(loops):
                call()
            micros = (time.thread_time() - start) / loops * 1e6
            found[name] = min(micros, found.get(name, micros))
    return found


def compiled(model, backend, x):
    call = torch.compile(copy_of(model), backend=backend)
    call(x)
    return call


def copy_of(model):
    """Dynamo keeps compiled code by the class of a module and checks one entry after the other: each back end gets a class of its own."""
    twin = copy.deepcopy(model)
    twin.__class__ = type(type(model).__name__, (type(model),), {"forward": _copy_function(type(model).forward)})
    return twin


def _copy_function(f):
    return type(f)(f.__code__.replace(), f.__globals__, f.__name__, f.__defaults__, f.__closure__)


def measure(model, seconds):
    x = torch.randn(4, 8)
    program = tuyere.compile(model, (x,), strict=True)
    engine, execute = program.engines[0], torch.ops.tuyere.execute.default
    outputs = engine(x)
    ins, outs, handle = [describe(x)], [describe(t) for t in outputs], engine._handle
    watch = program._watches[0]
    ours, nothing = compiled(model, "tuyere", x), compiled(model, backend_that_does_nothing(outputs), x)
    calls = {
        "eager": lambda: model(x),
        "engine": lambda: handle.execute(ins, outs, 0),
        "op": lambda: execute([x], engine.carrier, [], []),
        "watch": watch.refit_if_changed,
        "program": lambda: program(x),
        "backend": lambda: ours(x),
        "nothing": lambda: nothing(x),
    }
    return best(calls, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = ["eager", "engine", "op", "watch", "program", "backend", "nothing"]
    print("| model |", " | ".join(names), "| program - engine | backend - nothing |\n|---|" + "---|" * (len(names) + 2))
    with torch.no_grad():
        for label, make in MODELS.items():
            t = measure(make().eval(), args.seconds)
            over = [t["program"] - t["engine"], t["backend"] - t["nothing"]]
            print(f"| {label} |", " | ".join(f"{v:.1f}" for v in [*(t[n] for n in names), *over]), "|", flush=True)


if __name__ == "__main__":
    main()
