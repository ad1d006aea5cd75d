#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds, saves and runs a small CNN through the builder API, without a PyTorch model.

python examples/network_api.py [cpu|cuda|sm_90a ...]
"""

import sys

import numpy as np
import torch
import tuyere


def build(target):
    rng = np.random.default_rng(0)
    net = tuyere.Network()
    x = net.add_input("f32", ["n", 3, 32, 32], "image")
    w = net.add_constant("conv.weight", rng.standard_normal((16, 3, 3, 3)).astype("f") * 0.1, "f32", [16, 3, 3, 3])
    b = net.add_constant("conv.bias", rng.standard_normal((16, 1, 1)).astype("f"), "f32", [16, 1, 1])
    (y,) = net.add("conv stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]", [x, w])
    y = net.pointwise("relu", [net.pointwise("add", [y, b], "f32")], "f32")
    (y,) = net.add("reduce kind=mean axes=[2,3]", [y])
    fc = net.add_constant("fc.weight", rng.standard_normal((10, 16)).astype("f"), "f32", [10, 16])
    (y,) = net.add("matmul trans_b=true", [y, fc])
    net.mark_output(net.add("softmax axis=1", [y])[0])
    config = tuyere.BuilderConfig()
    config.target = target
    builder = tuyere.Builder(config)
    engine = builder.build(net)
    print(net)
    for layer in builder.report["layers"]:
        print(f"  {layer['tactic']:28s} {layer['name']}")
    return engine


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    engine = build(target)
    engine.save("small_cnn.engine")
    engine = tuyere.Engine.load("small_cnn.engine")
    for batch in (1, 4):
        (y,) = engine(torch.randn(batch, 3, 32, 32, device="cpu" if target == "cpu" else "cuda"))
        print(f"batch {batch}: output {tuple(y.shape)}, rows sum to {y.sum(1).mean().item():.4f}")


if __name__ == "__main__":
    main()
