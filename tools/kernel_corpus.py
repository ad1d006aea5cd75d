#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles a corpus of our CUDA kernels, family x dtype x vector width, with NVRTC for every architecture. No GPU is needed.

python tools/kernel_corpus.py --sample            what CI runs: every family and dtype once, widths and architectures taking turns
python tools/kernel_corpus.py                     everything, with the problem lists of tests/kernels_gpu (many minutes)
python tools/kernel_corpus.py --list              prints the problem texts
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("sm_80", "sm_90a", "sm_100a")
INNER = {8: 24, 4: 20, 2: 22, 1: 23}  # widest vector -> an innermost size that has it
FLOATS = ("f32", "f16", "bf16")
ALL = (*FLOATS, "f64", "i64", "i32", "i8", "u8", "bool")
PLAIN = (*FLOATS, "f64", "i64", "i8")

# family -> (dtypes, problem text; {t} dtype, {a} its compute type, {c} innermost size)
FAMILIES = {
    "pointwise": (ALL, "pointwise program={{max(i0:{a}, i1:{a})}} types=[{t}] | {t}[6,{c}], {t}[{c}] -> {t}[6,{c}]"),
    "activation": (FLOATS, "pointwise program={{gelu_erf(add(i0:f32, i1:f32))}} types=[{t}] | {t}[n,{c}], {t}[{c}] -> {t}[n,{c}] | n=6"),
    "reduce_inner": (("f32", "f16", "bf16", "f64", "i64"), "reduce axes=[1] type={t} | {t}[6,{c}] -> {t}[6]"),
    "reduce_outer": (("f32", "f16", "bf16", "f64"), "reduce kind=max axes=[0] type={t} | {t}[40,{c}] -> {t}[{c}]"),
    "arg_reduce": (PLAIN, "arg_reduce axis=1 | {t}[6,{c}] -> i64[6]"),
    "softmax": ((*FLOATS, "f64"), "softmax type={t} | {t}[6,{c}] -> {t}[6,{c}]"),
    "layer_norm": (FLOATS, "norm has_weight=true has_bias=true type={t} | {t}[6,{c}], {t}[{c}], {t}[{c}] -> {t}[6,{c}]"),
    "rms_norm": (FLOATS, "norm kind=rms has_weight=true type={t} | {t}[6,{c}], {t}[{c}] -> {t}[6,{c}]"),
    "group_norm": (FLOATS, "norm kind=group groups=2 type={t} | {t}[2,4,{c}] -> {t}[2,4,{c}]"),
    "permute": (PLAIN, "permute perm=[1,0] | {t}[40,{c}] -> {t}[{c},40]"),
    "concat": (PLAIN, "concat axis=1 | {t}[6,{c}], {t}[6,{c}] -> {t}[6,{c2}]"),
    "pad": (PLAIN, "pad before=[0,1] after=[0,1] value=0 | {t}[6,{c}] -> {t}[6,{cp}]"),
    "gather": (PLAIN, "gather | {t}[50,{c}], i64[9] -> {t}[9,{c}]"),
    "index_put": (("f32", "f16", "i64"), "index_put axes=[0] | {t}[6,{c}], {t}[3,{c}], i64[3] -> {t}[6,{c}]"),
    "max_pool": (FLOATS, "pool kernel=[2,2] stride=[2,2] | {t}[2,{c},4,4]{{{c16},1,{c4},{c}}} -> {t}[2,{c},2,2]{{{c4},1,{c2},{c}}}"),
    "resize": (FLOATS, "resize mode=linear size=[8,8] | {t}[2,{c},4,4]{{{c16},1,{c4},{c}}} -> {t}[2,{c},8,8]{{{c64},1,{c8},{c}}}"),
    "cumulate": (("f32", "f64", "i64"), "cumulate axis=1 type={t} | {t}[6,{c}] -> {t}[6,{c}]"),
    "sort": (("f32", "f16", "i64"), "sort axis=1 | {t}[6,{c}] -> {t}[6,{c}], i64[6,{c}]"),
    "matmul": ((*FLOATS, "f64"), "matmul trans_b=true type={t} | {t}[70,{c}], const {t}[{c},{c}] -> {t}[70,{c}]"),
    "conv": (
        FLOATS,
        "conv stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] type={t} | "
        "{t}[2,{c},4,4]{{{c16},1,{c4},{c}}}, const {t}[{c},{c},3,3]{{{c9},1,{c3},{c}}} -> {t}[2,{c},4,4]{{{c16},1,{c4},{c}}}",
    ),
    "depthwise": (
        FLOATS,
        "conv stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups={c} type={t} | "
        "{t}[2,{c},4,4]{{{c16},1,{c4},{c}}}, const {t}[{c},1,3,3] -> {t}[2,{c},4,4]{{{c16},1,{c4},{c}}}",
    ),
    "attention": (FLOATS, "attention scale=0.25 type={t} | {t}[2,3,50,{c}], {t}[2,3,50,{c}], {t}[2,3,50,{c}] -> {t}[2,3,50,{c}]"),
}
COMPUTE = {"f16": "f32", "bf16": "f32", "i8": "i32", "u8": "i32"}


def problem(family, dtype, width):
    c = INNER[width]
    multiples = {f"c{k}": k * c for k in (2, 3, 4, 8, 9, 16, 64)}
    return FAMILIES[family][1].format(t=dtype, a=COMPUTE.get(dtype, dtype), c=c, cp=c + 2, **multiples)


def corpus():
    """(architecture, problem): every combination."""
    for family, (dtypes, _) in FAMILIES.items():
        for dtype, width, arch in itertools.product(dtypes, INNER, ARCHITECTURES):
            yield arch, problem(family, dtype, width)


def sample():
    """Every family and dtype once."""
    turn = itertools.cycle(itertools.product(INNER, ARCHITECTURES))
    for family, (dtypes, _) in FAMILIES.items():
        for dtype in dtypes:
            width, arch = next(turn)
            yield arch, problem(family, dtype, width)


def listed():
    for path in sorted((ROOT / "tests/kernels_gpu").glob("problems_*.txt")):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                yield from ((arch, line.removeprefix("* ")) for arch in ARCHITECTURES)


def compile_all(bench, work, configs):
    """Runs tuyere-bench once per architecture; returns the number that failed."""
    failed = 0
    for arch in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problems.txt"
            path.write_text("\n".join(dict.fromkeys(text for a, text in work if a == arch)) + "\n")
            env = {**os.environ, "TUYERE_CACHE_DIR": folder}  # an empty kernel cache: everything is compiled
            done = subprocess.run([bench, "--compile", "--target", arch, "--configs", str(configs), str(path)], env=env, capture_output=True, text=True)
        problems = done.stdout.splitlines()
        print(f"{arch}: {problems[-1] if problems else done.stderr.strip()}", flush=True)
        if done.returncode:
            failed += 1
            print("\n".join(context_of_failures(problems)))
    return failed


def context_of_failures(lines):
    text = ""
    for line in lines:
        if not line.startswith(" "):
            text = line
        elif line.startswith("  FAIL"):
            yield f"{text}\n{line}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--bench", default=str(ROOT / "build/release/bin/tuyere-bench"))
    args = parser.parse_args()
    work = list(sample()) if args.sample else [*corpus(), *listed()]
    if args.list:
        print("\n".join(dict.fromkeys(text for _, text in work)))
        return 0
    return 1 if compile_all(args.bench, work, 1 if args.sample else 3) else 0


if __name__ == "__main__":
    sys.exit(main())
