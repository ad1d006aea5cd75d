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

    def forward(self, input):
        x = self.embed(input)
        q, k, v = (t.unflatten(-1, (2, 8)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(nn.functional.gelu(self.norm(x + y)))


def cnn():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10), nn.Softmax(-1))


def cases():
    """name, module, input, dynamic dims, options."""
    image, ids = torch.randn(2, 3, 8, 8), torch.randint(0, 20, (2, 7))
    batch = {0: torch.export.Dim("n", min=1, max=64)}
    yield "cnn_own", cnn(), image, batch, {"tactic_sources": ["own"]}
    yield "cnn_onednn", cnn(), image, batch, {"tactic_sources": ["onednn", "own"]}
    yield "attention_own", Attention(), ids, {**batch, 1: torch.export.Dim("s", min=2, max=32)}, {"tactic_sources": ["own"]}
    yield "cnn_sm_80", cnn(), image, batch, {"target": "sm_80", "tactic_sources": ["own"]}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/plans/stored"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name, module, x, dims, options in cases():
        with torch.no_grad():
            want = module.eval()(x)
            program = tuyere.compile(
                module, (x,), dynamic_shapes={"input": dims}, strict=True, optimization_level=1, timing_cache=False, engine_cache=False, **options
            )
        (engine,) = program.engines
        draft = folder / "draft.engine"
        engine.save(draft)
        stem = folder / f"v{tuyere.EngineFile.read(draft).plan['version']}_{name}"
        draft.rename(f"{stem}.engine")
        save_file({"input": x, "output": want.contiguous()}, f"{stem}.data")
        print(stem.name)


if __name__ == "__main__":
    main()
