#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that folders are layers: an #include may only point to the same layer or to one on its right in
py > partitioning > converters > core > runtime > kernels > common. Torch headers only in runtime/torch_op; none of the builder in what the
lean runtime is made of."""

import re
import sys
from pathlib import Path

LAYERS = ["common", "kernels", "runtime", "core", "converters", "partitioning", "py"]
LEAN = ("common/", "kernels/api/", "kernels/run/", "runtime/")
ROOT = Path(__file__).resolve().parent.parent


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line)
        if match:
            yield number, match.group(1)


def problems_of(path):
    name = path.relative_to(ROOT).as_posix()
    layer = name.split("/")[0]
    for number, target in includes(path):
        top = target.split("/")[0]
        where = f"{name}:{number}: includes {target}"
        if top in LAYERS and LAYERS.index(top) > LAYERS.index(layer):
            yield f"{where}: {layer} must not know {top}"
        if target.startswith(("torch/", "ATen/", "c10/")) and not name.startswith("runtime/torch_op/"):
            yield f"{where}: torch headers belong to runtime/torch_op"
        if name.startswith(LEAN) and top == "kernels" and not target.startswith(("kernels/api/", "kernels/run/")):
            yield f"{where}: the lean runtime must not see kernel builders"
        if target.startswith("pybind11/") and layer != "py":
            yield f"{where}: pybind11 belongs to py/bindings"


def main():
    files = [p for layer in LAYERS for suffix in ("*.h", "*.cpp") for p in (ROOT / layer).rglob(suffix)]
    found = [text for path in sorted(files) for text in problems_of(path)]
    print("\n".join(found) or f"layers: {len(files)} files in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
