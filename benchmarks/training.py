#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training on scikit-learn's digits beside eager, on the CPU: losses, accuracy, milliseconds a step of loops that take turns.

python benchmarks/training.py [--threads 1] [--only cnn,vit]
python benchmarks/training.py --networks mobilenet_v2,resnet18    forward and backward of torchvision's, 8 images of 128 x 128, in both memory formats
"""

import argparse
import copy
import statistics
import time
import warnings
from dataclasses import dataclass, field

import torch
import tuyere
from torch import nn
from torch.utils.checkpoint import checkpoint

BATCH, TRAINED = 64, 1408  # the images after the first TRAINED ones test


def digits():
    """(images, labels) in an order that is always the same."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return (torch.tensor(data.images, dtype=torch.float32)[:, None] / 16)[order], torch.tensor(data.target)[order]


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10))


def cnn():
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(*block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 32), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    """A layer of a transformer, norm first."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width))

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.feed(x)


class ViT(nn.Module):
    """Patches of 2 x 2 pixels as tokens."""

    def __init__(self, dropout=0.0, recompute=False):
        super().__init__()
        self.embed, self.position = nn.Conv2d(1, 48, 2, stride=2), nn.Parameter(0.02 * torch.randn(16, 48))
        self.blocks = nn.ModuleList(Block(48, 4, dropout) for _ in range(2))
        self.norm, self.head, self.recompute = nn.LayerNorm(48), nn.Linear(48, 10), recompute

    def forward(self, images):
        x = self.embed(images).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.head(self.norm(x).mean(1))


class Inverted(nn.Module):
    """An inverted residual of MobileNetV3: wider, windows of every channel by itself, squeeze-excite, narrower."""

    def __init__(self, width, kernel, stride=1):
        super().__init__()
        wide, self.adds = 4 * width, stride == 1
        self.expand = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish())
        self.windows = nn.Sequential(nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, width, 1), nn.ReLU(), nn.Conv2d(width, wide, 1), nn.Hardsigmoid())
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.windows(self.expand(x))
        y = self.project(y * self.gate(y))
        return x + y if self.adds else y


def mobile():
    stem = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()]
    return nn.Sequential(*stem, Inverted(16, 3), Inverted(16, 5), Inverted(16, 3, 2), Inverted(16, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))


class LSTM(nn.Module):
    """The rows of an image one after another."""

    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 64, num_layers=2, batch_first=True), nn.Linear(64, 10)

    def forward(self, images):
        return self.head(self.cells(images[:, 0])[0][:, -1])


MODELS = {
    "mlp": mlp,
    "cnn": cnn,
    "mobile": mobile,
    "lstm": LSTM,
    "vit": ViT,
    "vit, dropout": lambda: ViT(dropout=0.1),
    "vit, recomputed": lambda: ViT(recompute=True),
}


def sgd(parameters):
    # With lr=0.02 the CNN's losses tell one rounding from another: eager with weights changed by 1e-7 then differs from eager by up to 2e-2 after 50 steps.
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=3e-3)


@dataclass
class Run:
    """A training run that can be continued: step after step over the same batches."""

    model: nn.Module
    call: object
    optimizer: torch.optim.Optimizer
    data: tuple
    accumulate: int = 1
    autocast: bool = False
    losses: list = field(default_factory=list)
    seconds: list = field(default_factory=list)

    def train(self, steps):
        images, labels = self.data
        for _ in range(steps):
            started = time.perf_counter()
            step = len(self.losses)
            at = step * BATCH % TRAINED
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                loss = nn.functional.cross_entropy(self.call(images[at : at + BATCH]), labels[at : at + BATCH]) / self.accumulate
            loss.backward()
            if (step + 1) % self.accumulate == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            self.losses.append(loss.item())
            self.seconds.append(time.perf_counter() - started)

    def accuracy(self):
        images, labels = self.data
        self.model.eval()
        with torch.no_grad():
            found = self.call(images[TRAINED:]).argmax(1)
        self.model.train()
        return float((found == labels[TRAINED:]).float().mean())


def pair(make, optimizer, data=None, **settings):
    """Two runs that begin alike: eager, and with backend="tuyere"."""
    torch.manual_seed(1)
    eager, data = make(), data or digits()
    ours = copy.deepcopy(eager)
    return Run(eager, eager, optimizer(eager.parameters()), data, **settings), Run(
        ours, torch.compile(ours, backend="tuyere"), optimizer(ours.parameters()), data, **settings
    )


def take_turns(eager, ours, steps, turn=11):
    """Trains both, in turns, with the same random numbers."""
    for first in range(0, steps, turn):
        for run in (eager, ours):
            torch.manual_seed(first)
            run.train(min(turn, steps - first))


def worst_loss(eager, ours, steps=50):
    """The largest relative difference among the first losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(ours.losses[:steps], eager.losses[:steps]))


def step_of_network(model, call, images):
    """Milliseconds of one forward and backward pass."""
    started = time.perf_counter()
    model.zero_grad()
    nn.functional.cross_entropy(call(images), torch.arange(len(images))).backward()
    return 1e3 * (time.perf_counter() - started)


def time_networks(names, steps=11):
    from torchvision import models

    print("| network | memory format | ms eager | tuyere | ratio |\n|---|---|---|---|---|")
    for name in names:
        for order in (torch.contiguous_format, torch.channels_last):
            torch._dynamo.reset()
            eager = models.get_model(name).to(memory_format=order)
            ours, images = copy.deepcopy(eager), torch.randn(8, 3, 128, 128).contiguous(memory_format=order)
            calls = ((eager, eager), (ours, torch.compile(ours, backend="tuyere")))
            rounds = [[step_of_network(model, call, images) for model, call in calls] for _ in range(steps)]
            theirs, mine = (statistics.median(times) for times in zip(*rounds[3:]))
            print(f"| {name} | {str(order).removeprefix('torch.')} | {theirs:.1f} | {mine:.1f} | {mine / theirs:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--only", default="")
    parser.add_argument("--networks", help="names of torchvision's, instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=tuyere.FallbackWarning)
    if options.networks:
        return time_networks(options.networks.split(","))
    print(
        "| model | optimizer | autocast | worst of 50 losses | accuracy eager | tuyere | ms a step eager | tuyere | ratio |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, make in MODELS.items():
        if options.only and name not in options.only.split(","):
            continue
        for optimizer, autocast in ((adam, False), (sgd, False), (adam, True)):
            torch._dynamo.reset()
            eager, ours = pair(make, optimizer, autocast=autocast)
            take_turns(eager, ours, options.steps)
            medians = [1e3 * statistics.median(run.seconds[22:]) for run in (eager, ours)]
            figures = [f"{worst_loss(eager, ours):.1e}", f"{eager.accuracy():.4f}", f"{ours.accuracy():.4f}", *(f"{m:.3f}" for m in medians)]
            print(f"| {name} | {optimizer.__name__} | {'bf16' if autocast else '-'} | {' | '.join(figures)} | {medians[1] / medians[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
