#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles many models that nobody tuned for and compares each with float64: one JSON line per model.

usage: sweep.py [--only REGEX] [--shard 0/2] [--out sweep.jsonl] [--resume] [--how compile|dynamic|export|train|dynamic-train] [--dtype fp32] [--device cpu]
       sweep.py --drawn SEED:COUNT ...     models drawn at random, by tools/sweep_drawn.py
       sweep.py --table sweep.jsonl        counts, and what is not one exact engine

dynamic compiles once and calls with several batch sizes, one of them 1; dynamic-train trains with them. What torch.compile does (graphs, graph breaks, frames compiled) must be what it does with
backend="eager". A model runs in a worker process with a time limit; a crash is a result. --resume leaves out what the file has for this commit.

Results that are over the bound are compared with what float64's do when every weight changes by 1e-7 of itself (moved): a model whose results move as far
says nothing about how exact the kernels are (status: sensitive).
"""

import argparse
import collections
import copy
import json
import os
import re
import select
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPS = {"fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
MARK = "sweep-result "


def commit():
    """What results are kept with; TUYERE_COMMIT says it where the checkout has no history."""
    if given := os.environ.get("TUYERE_COMMIT"):
        return given

    def git(*args):
        return subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


# -- one model, inside a worker


def tensors_of(out):
    import torch

    return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]


def finite(t):
    return not t.is_floating_point() or bool(t.isfinite().all())


def errors(got, want, reference, eps):
    """(error / bound, error, eager's error) of every output."""
    import torch

    if len(got) != len(want):
        return [(float("inf"), len(got), len(want))]
    rows, largest = [], max((float(r.double().norm()) for r in reference if r.is_floating_point()), default=0.0)
    for g, w, r in zip(got, want, reference, strict=True):
        if g.shape != w.shape or g.dtype != w.dtype:
            rows.append((float("inf"), str((tuple(g.shape), g.dtype)), str((tuple(w.shape), w.dtype))))
        elif not w.is_floating_point():
            rows.append((0.0 if torch.equal(g, w) else float("inf"), float((g != w).sum()), 0.0))
        elif w.numel():
            g, w, r = (torch.nan_to_num(t.detach().double().cpu(), nan=12345.0) for t in (g, w, r))
            size = float(r.norm())  # of a gradient that is zero but for float64's rounding nothing but rounding can be compared
            scale = max(size if size > 1e-12 * largest else largest, 1e-30)
            ours, eager = float((g - r).norm() / scale), float((w - r).norm() / scale)
            rows.append((ours / max(1.5 * eager, 4 * eps), ours, eager))
        else:
            rows.append((0.0, 0.0, 0.0))
    return rows


def to(tree, dtype, device):
    import torch

    def move(t):
        return t.to(device, dtype if t.is_floating_point() else t.dtype) if isinstance(t, torch.Tensor) else t

    return torch.utils._pytree.tree_map(move, tree)


def run_training(model, args, kwargs):
    """Loss gradient of every parameter."""
    model.zero_grad()
    loss = sum(t.float().square().mean() for t in tensors_of(model(*args, **kwargs)) if t.is_floating_point())
    loss.backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def with_batch(tree, count):
    """The same inputs with other batch sizes: rows again, of floats with other values."""
    import torch

    leaves = tensors_of(tree)
    batch = leaves[0].shape[0] if leaves else None

    def resized(t):
        if not isinstance(t, torch.Tensor) or t.dim() == 0 or t.shape[0] != batch:
            return t
        rows = t[torch.arange(count) % batch]
        return rows + 0.1 * torch.randn_like(rows) if t.is_floating_point() else rows

    return torch.utils._pytree.tree_map(resized, tree)


def what_dynamo_did(compiled, inputs, call):
    """The results of all calls, and how often torch.compile compiled, broke the graph, and asked the back end."""
    import torch

    counters = torch._dynamo.utils.counters
    counters.clear()
    results = [[t.clone() for t in call(compiled, *each)] for each in inputs]
    counts = {"graphs": counters["stats"]["unique_graphs"], "breaks": sum(counters["graph_break"].values()), "frames": counters["frames"]["ok"]}
    return results, counts


def moved(model, inputs, reference, call):
    """How far float64's results are from themselves when every weight changes by 1e-7 of itself: one number per result."""
    import torch

    model = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + 1e-7 * torch.randn_like(p))
    return [
        float((a - b).norm() / b.norm().clamp_min(1e-30)) for a, b in ((a.double(), b.double()) for a, b in zip(call(model, *inputs), reference, strict=True))
    ]


def measure(name, settings):
    import torch
    import tuyere
    from sweep_drawn import make
    from sweep_models import catalogue

    torch.manual_seed(0)
    model, args, kwargs = catalogue().get(name, lambda: make(name))()
    dtype, device, how = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings["dtype"]], settings["device"], settings["how"]
    call = run_training if "train" in how else lambda m, a, k: tensors_of(m(*a, **k))
    inputs = [with_batch((args, kwargs), count) for count in (3, 2, 5, 1, 4)] if "dynamic" in how else [(args, kwargs)]
    with torch.set_grad_enabled("train" in how):
        exact, wide = copy.deepcopy(model).double(), to(inputs, torch.float64, "cpu")
        references = [call(exact, *each) for each in wide]
        model, inputs = model.to(device, dtype), to(inputs, dtype, device)
        wants = [[t.clone() for t in call(model, *each)] for each in inputs]
        by_eager = None
        if how != "export":
            _, by_eager = what_dynamo_did(torch.compile(model, backend="eager"), inputs, call)
            torch._dynamo.reset()
        started = time.perf_counter()
        options = {"optimization_level": settings["level"]}
        compiled = tuyere.compile(model, args, kwargs=kwargs, **options) if how == "export" else torch.compile(model, backend="tuyere", options=options)
        gots, by_us = what_dynamo_did(compiled, inputs, call)
        seconds = time.perf_counter() - started
        rows = [row for each in zip(gots, wants, references, strict=True) for row in errors(*each, EPS[settings["dtype"]])]
        over = [k for k, row in enumerate(rows) if row[0] > 1]
        moves = []
        if over and len(rows) == sum(map(len, references)):
            moves = [far for each, reference in zip(wide, references, strict=True) for far in moved(exact, each, reference, call)]
    ratio, error, eager = max(rows, default=(0.0, 0.0, 0.0), key=lambda row: row[0])
    reports = tuyere.reports()
    result = {key: sum(getattr(r, "num_" + key) for r in reports) for key in ("nodes", "native", "hosted", "outside", "engines")}
    reasons = collections.Counter((f[0], f[3]) for r in reports for f in r.fallbacks)
    result |= {"graphs": len(reports), "ratio": ratio, "error": error, "eager": eager, "seconds": round(seconds, 1)}
    result["fallbacks"] = [[op, reason, count] for (op, reason), count in reasons.most_common()]
    if by_eager not in (None, by_us):
        result["dynamo"] = {"eager": by_eager, "tuyere": by_us}
    if over:
        result["over"] = [[k, *rows[k], *moves[k : k + 1]] for k in sorted(over, key=lambda k: -rows[k][0])[:8]]
    one = result["engines"] == result["graphs"] and not result["hosted"] and not result["outside"]
    if over:
        result["status"] = "sensitive" if moves and all(rows[k][1] <= moves[k] for k in over) else "wrong"
    else:
        result["status"] = "recompiles" if "dynamo" in result else "ok" if one else "fallback"
    unknown = sum(finite(w) and not finite(r) for each in zip(wants, references, strict=True) for w, r in zip(*each, strict=True))
    if unknown and result["status"] in ("ok", "fallback"):
        result |= {"status": "unusable", "exception": f"{unknown} results are finite in eager and not in float64: nothing to compare with"}
    return result


def work(settings):
    """Reads names from stdin, writes results to stdout."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for line in sys.stdin:
        torch._dynamo.reset()
        try:
            import tuyere

            tuyere.clear_reports()
            result = measure(line.strip(), settings)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            where = [f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)][-4:]
            ours = "tuyere" in traceback.format_exc()
            result = {"status": "error" if ours else "unusable", "exception": text[:2000], "where": where}
        print(MARK + json.dumps(result), flush=True)


# -- the driver


class Worker:
    def __init__(self, settings):
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "py"), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]))
        self.log = open(settings["log"], "a")  # noqa: SIM115
        command = [sys.executable, __file__, "--worker", json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=env, text=True, bufsize=1)

    def ask(self, name, limit):
        """The result for a model; a dead or slow worker is one too."""
        self.log.write(f"== {name}\n")
        self.log.flush()
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        until = time.monotonic() + limit
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            if not ready:
                self.close()
                return {"status": "timeout", "exception": f"over {limit} s"}
            line = self.process.stdout.readline()
            if not line:
                code = self.process.wait()
                return {"status": "crash", "exception": f"the process ended with {code}"}
            if line.startswith(MARK):
                return json.loads(line[len(MARK) :])

    @property
    def alive(self):
        return self.process.poll() is None

    def close(self):
        if self.alive:
            self.process.kill()
        self.process.wait()
        self.log.close()


def drive(names, settings, out, limit):
    worker = None
    for number, name in enumerate(names):
        if worker is None or not worker.alive:
            worker = Worker(settings)
        started = time.monotonic()
        result = {"model": name, "commit": settings["commit"], "how": settings["how"], "dtype": settings["dtype"], "device": settings["device"]}
        result |= worker.ask(name, limit)
        with open(out, "a") as file:
            file.write(json.dumps(result) + "\n")
        detail = result.get("exception", "").split("\n")[0][:120] or (
            f"{result['engines']} engines / {result['graphs']} graphs, hosted {result['hosted']}, outside {result['outside']}, "
            f"error {result['error']} eager {result['eager']} {[f[:2] for f in result['fallbacks'][:2]]}"
        )
        print(f"[{number + 1}/{len(names)}] {result['status']:10s} {name:44s} {time.monotonic() - started:5.1f} s  {detail}", flush=True)
    if worker:
        worker.close()


def load(path):
    """The newest line of each model."""
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return {(r["model"], r["how"], r["dtype"], r["device"]): r for r in map(json.loads, file)}


def table(path):
    rows = load(path).values()
    print(dict(collections.Counter(r["status"] for r in rows)))
    reasons, models = collections.Counter(), collections.defaultdict(set)
    for r in rows:
        for op, reason, count in r.get("fallbacks", []):
            reasons[op, reason] += count
            models[op, reason].add(r["model"])
    for key, count in sorted(reasons.items(), key=lambda item: -len(models[item[0]])):
        print(f"{len(models[key]):3d} models {count:4d} nodes  {key[0]}: {key[1][:160]}  {sorted(models[key])[:3]}")
    for r in rows:
        if r["status"] not in ("ok", "fallback"):
            print(f"{r['status']:10s} {r['model']:44s} {r.get('exception') or r.get('over') or r.get('dynamo')}"[:300])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=".")
    parser.add_argument("--drawn", metavar="SEED:COUNT")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--out", default="sweep.jsonl")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--how", default="compile", choices=["compile", "dynamic", "export", "train", "dynamic-train"])
    parser.add_argument("--dtype", default="fp32", choices=sorted(EPS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--level", type=int, default=1, help="optimization_level")
    parser.add_argument("--limit", type=float, default=240, help="seconds per model")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(json.loads(options.worker))
    if options.table:
        return table(options.table)
    sys.path.insert(0, str(ROOT / "tools"))
    from sweep_drawn import draw
    from sweep_models import catalogue

    index, count = map(int, options.shard.split("/"))
    known = draw(*map(int, options.drawn.split(":"))) if options.drawn else catalogue()
    names = [n for k, n in enumerate(n for n in known if re.search(options.only, n)) if k % count == index]
    settings = {"commit": commit(), "log": options.out + ".log", **{k: getattr(options, k) for k in ("how", "dtype", "device", "level")}}
    if options.resume:
        done = load(options.out)
        old = {n for n in names if done.get((n, options.how, options.dtype, options.device), {}).get("commit") == settings["commit"]}
        names = [n for n in names if n not in old]
    if options.list:
        print("\n".join(names))
        return None
    return drive(names, settings, options.out, options.limit)


if __name__ == "__main__":
    main()
