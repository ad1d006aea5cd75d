#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every operator that PyTorch's own tests know (OpInfo) with their sample inputs, and compares each with eager and float64.

usage: sweep_ops.py [--only REGEX] [--shard 0/2] [--out ops.jsonl] [--dtypes float32,int64,bool] [--samples 6] [--dynamic] [--gradients] [--device cpu]
       sweep_ops.py --table ops.jsonl      wrong ones, and what runs in PyTorch by number of operators

--gradients compares what autograd computes of a weighted sum of the results. One JSON line per operator and dtype: {op, dtype, samples, ok, native, wrong: [...], reasons: {reason: count}}.
"""

import argparse
import collections
import json
import re
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
# Random by design, or with memory that nobody wrote: no value to compare.
NO_VALUE = re.compile(
    r"(^|\.)(empty|new_empty|bernoulli|multinomial|normal|rand|uniform|cauchy|exponential|geometric|log_normal|dropout|alpha_dropout|feature_alpha|rrelu|fractional_max)"
)


def call_of(info, sample):
    """A function of the sample's tensors alone, and these tensors."""
    import torch
    from torch.utils import _pytree as pytree

    flat, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [k for k, v in enumerate(flat) if isinstance(v, torch.Tensor)]
    op = info.op

    def call(*tensors):
        values = list(flat)
        for k, t in zip(places, tensors, strict=True):
            values[k] = t
        first, args, kwargs = pytree.tree_unflatten(values, spec)
        return op(first, *args, **kwargs)

    return call, [flat[k].detach() for k in places]


def leaves(out):
    import torch

    return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]


def difference(got, want, exact, strides):
    """ "" or what is wrong with `got`. strides: they count."""
    import torch

    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{tuple(got.shape)} {got.dtype}, expected {tuple(want.shape)} {want.dtype}"
    if strides and got.numel() and any(n > 1 and a != b for n, a, b in zip(got.shape, got.stride(), want.stride(), strict=True)):
        return f"strides {got.stride()}, expected {want.stride()} of {tuple(got.shape)}"
    if want.is_complex():
        got, want, exact = (
            t if t is None else torch.view_as_real(t.to(torch.complex128 if t.dtype == torch.complex128 else torch.complex64).resolve_conj())
            for t in (got, want, exact)
        )
    if not want.is_floating_point():
        return "" if torch.equal(got, want) else f"{int((got != want).sum())} of {got.numel()} values differ"
    if not torch.equal(got.isnan(), want.isnan()):
        return "NaN in different places"
    name = str(want.dtype)[6:]
    g, w = got.double(), want.double()
    r = exact.double() if exact is not None and exact.shape == want.shape and torch.equal(exact.isnan(), want.isnan()) else w
    fine = w.isfinite() & r.isfinite()
    if not torch.equal(g[~w.isfinite() & ~w.isnan()], w[~w.isfinite() & ~w.isnan()]):
        return "infinities differ"
    scale = r[fine].norm().clamp_min(1e-30)
    ours, eager = float((g[fine] - r[fine]).norm() / scale), float((w[fine] - r[fine]).norm() / scale)
    return "" if ours <= max(1.5 * eager, 4 * EPS[name]) else f"error {ours:.2e}, eager {eager:.2e}"


def with_gradients(call):
    """A function of the same tensors that returns the gradients of a sum of the results, each with a weight of its own."""
    import torch

    def gradients(*tensors):
        inputs = [t.requires_grad_() if t.is_floating_point() else t for t in tensors]
        total = 0
        for out in leaves(call(*inputs)):
            if out.is_floating_point() and out.requires_grad:
                total = total + (out * torch.arange(1, out.numel() + 1, device=out.device).reshape(out.shape).cos()).sum()
        return [g for g in torch.autograd.grad(total, [t for t in inputs if t.requires_grad], allow_unused=True) if g is not None]

    return gradients


def check(info, sample, dynamic, differentiate):
    """("ok" | "wrong" | "skip", text, reasons)."""
    import torch
    import tuyere

    call, tensors = call_of(info, sample)
    wrap = with_gradients if differentiate else lambda f: f
    if not tensors or any(t.dtype.is_complex or t.layout != torch.strided for t in tensors):
        return "skip", "", []
    try:
        want = leaves(wrap(call)(*(t.clone() for t in tensors)))
    except Exception:
        return "skip", "", []
    if any(t.layout != torch.strided for t in want):
        return "skip", "", []
    try:
        exact = leaves(wrap(call)(*(t.double() if t.is_floating_point() else t.clone() for t in tensors)))
    except Exception:
        exact = [None] * len(want)
    exact = exact if len(exact) == len(want) else [None] * len(want)
    torch._dynamo.reset()
    tuyere.clear_reports()
    try:
        compiled = torch.compile(call, backend="tuyere", dynamic=dynamic or None, options={"optimization_level": 0})
        got = leaves(wrap(compiled)(*(t.clone() for t in tensors)))
    except Exception as error:
        if "tuyere" not in type(error).__module__ and not re.search(r"tuyere|engine|network", str(error)):
            return "skip", f"{type(error).__name__}", []
        return "wrong", f"{type(error).__name__}: {str(error).strip()[:400]}", []
    reasons = sorted({(f[0], f[3]) for r in tuyere.reports() for f in r.fallbacks})
    if NO_VALUE.search(info.name):
        return "ok", "", reasons
    texts = [difference(g, w, e, not differentiate) for g, w, e in zip(got, want, exact, strict=True)] if len(got) == len(want) else ["number of outputs"]
    bad = [t for t in texts if t]
    return ("wrong", bad[0] + f" (shapes {[tuple(t.shape) for t in tensors]})", reasons) if bad else ("ok", "", reasons)


def samples_of(info, dtype, device, count):
    """`count` samples spread over all."""
    every = list(info.sample_inputs(device, dtype))
    if len(every) <= count:
        return every
    return [every[int(k * (len(every) - 1) / (count - 1))] for k in range(count)]


def measure(info, dtype, options):
    row = {"op": info.name + (f".{info.variant_test_name}" if info.variant_test_name else ""), "dtype": str(dtype)[6:], "samples": 0, "ok": 0, "native": 0}
    row |= {"wrong": [], "reasons": collections.Counter()}
    for sample in samples_of(info, dtype, options.device, options.samples):
        status, text, reasons = check(info, sample, options.dynamic, options.gradients)
        if status == "skip":
            continue
        row["samples"] += 1
        row["ok"] += status == "ok"
        row["native"] += status == "ok" and not reasons
        if status == "wrong":
            row["wrong"].append(text)
        row["reasons"].update(f"{op}: {reason.split('; not hosted')[0]}" for op, reason in reasons)
    return row


def sweep(options):
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    index, count = map(int, options.shard.split("/"))
    infos = [i for k, i in enumerate(i for i in op_db if re.search(options.only, i.name)) if k % count == index]
    for number, info in enumerate(infos):
        for dtype in (getattr(torch, d) for d in options.dtypes.split(",")):
            if dtype not in info.dtypes or options.gradients and not info.supports_autograd:
                continue
            row = measure(info, dtype, options)
            with open(options.out, "a") as file:
                file.write(json.dumps(row) + "\n")
            print(
                f"[{number + 1}/{len(infos)}] {row['op']} {row['dtype']}: {row['ok']}/{row['samples']} right, {row['native']} native {row['wrong'][:1]}",
                flush=True,
            )


def table(path):
    with open(path) as file:
        rows = list({(r["op"], r["dtype"]): r for r in map(json.loads, file)}.values())
    full = [r for r in rows if r["samples"]]
    print(
        f"{len(full)} operator-dtype pairs: {sum(r['native'] == r['samples'] for r in full)} all native, {sum(bool(r['wrong']) for r in full)} wrong somewhere"
    )
    reasons = collections.defaultdict(set)
    for r in full:
        for reason in r["reasons"]:
            reasons[reason].add(r["op"])
    for reason, ops in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(ops):3d}  {reason[:200]}   {sorted(ops)[:4]}")
    for r in full:
        if r["wrong"]:
            print(f"WRONG {r['op']} {r['dtype']} {len(r['wrong'])}/{r['samples']}: {r['wrong'][0][:260]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=".")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--out", default="ops.jsonl")
    parser.add_argument("--dtypes", default="float32,int64,bool")
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", metavar="FILE")
    options = parser.parse_args()
    if options.table:
        return table(options.table)
    sys.path.insert(0, str(ROOT / "py"))
    return sweep(options)


if __name__ == "__main__":
    main()
