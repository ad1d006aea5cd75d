#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes engine files of the present plan version into tests/plans/stored, with inputs and outputs beside them. Run it when a version is released;
files of released versions are never replaced: the runtime must go on reading them (runtime/plan/FORMAT.md).

    python tools/store_plans.py [folder]
"""

import sys
from pathlib import Path

import torch
import tuyere
from safetensors.torch import save_file
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.qkv, self.norm, self.out = nn.Embedding(20, 16), nn.Linear(16, 48), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, ids):
        x = self.embed(ids)
        q, k, v = (t.unflatten(-1, (2, 8)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(nn.functional.gelu(self.norm(x + y)))


def cases():
    """name -> (module, inputs, dynamic shapes, options)."""
    batch = torch.export.Dim("n", min=1, max=64)
    cnn = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10), nn.Softmax(-1))
    image = torch.randn(2, 3, 8, 8)
    ids = torch.randint(0, 20, (2, 7))
    yield "cnn_own", cnn, (image,), {"input": {0: batch}}, {"tactic_sources": ["own"]}
    yield "cnn_onednn", cnn, (image,), {"input": {0: batch}}, {}
    yield "attention_own", Attention(), (ids,), {"ids": {0: batch, 1: torch.export.Dim("s", min=2, max=32)}}, {"tactic_sources": ["own"]}
    yield "cnn_sm_80", cnn, (image,), {"input": {0: batch}}, {"target": "sm_80", "tactic_sources": ["own"]}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/plans/stored"
    folder.mkdir(parents=True, exist_ok=True)
    for name, module, inputs, dynamic_shapes, options in cases():
        torch.manual_seed(0)
        module = module.eval()
        with torch.no_grad():
            program = tuyere.compile(
                module, inputs, dynamic_shapes=dynamic_shapes, strict=True, optimization_level=1, timing_cache=False, engine_cache=False, **options
            )
            outputs = module(*inputs)
        program.engines[0] if "target" not in options else None
        version = 1
        write(folder / f"v{version}_{name}.engine", program)
        save_file({"input": inputs[0], "output": outputs.contiguous()}, folder / f"v{version}_{name}.data")


if __name__ == "__main__":
    main()
