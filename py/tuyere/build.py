# SPDX-License-Identifier: Apache-2.0
"""Network -> engine, with the options of the user."""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

import torch

from . import _compat, _tuyere
from .engine import AbsentEngine, Engine, Weights, make_carrier, return_unused_memory
from .options import Options, profile_range


def target_of(device: torch.device, options: Options) -> str:
    """The builder's target for tensors on `device`."""
    if options.target:
        return options.target
    return "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"


def builder_config(target: str, options: Options):
    config = _tuyere.BuilderConfig()
    config.target = target
    config.precision = options.precision
    config.optimization_level = options.optimization_level
    config.workspace_size = -1 if options.workspace_size is None else options.workspace_size
    config.tactic_sources = list(options.tactic_sources or [])
    config.timing_cache = _cache_path(options.timing_cache)
    config.engine_cache = _cache_path(options.engine_cache)
    config.weights = options.weights
    config.disabled_passes = list(options.disabled_passes)
    config.deterministic = options.deterministic
    config.cuda_graphs = options.cuda_graphs
    config.tf32_matmul, config.tf32_conv = _compat.tf32_flags()
    config.profiles = [_profile(p) for p in options.profiles or []]
    return config


def _cache_path(value) -> str:
    return {True: "default", False: ""}[value] if isinstance(value, bool) else os.fspath(value)


def _profile(ranges):
    profile = _tuyere.OptimizationProfile()
    for symbol, value in ranges.items():
        profile.set(symbol, *profile_range(value))
    return profile


class _Bar:
    """One line of progress on a terminal."""

    def __call__(self, phase, done, total, what):
        text = f"\rtuyere: {phase} {done}/{total} {what}"[:100]
        sys.stderr.write(f"{text:<100}")
        if done >= total:
            sys.stderr.write("\r" + " " * 100 + "\r")
        sys.stderr.flush()
        return True


def progress_of(options: Options):
    if callable(options.progress):
        return options.progress
    wanted = sys.stderr.isatty() if options.progress is None else options.progress
    return _Bar() if wanted else None


@dataclasses.dataclass
class Built:
    """A built engine: its file, and where its weights are when they are not in it."""

    data: bytes
    report: Dict[str, Any]
    weights: bytes  # weights="separate": the second file
    weights_path: str  # where that file is already
    device: int = 0  # of a GPU engine

    def open(self, options: Options, unique: bool, shared: Dict[str, torch.Tensor]) -> Engine:
        """Loads the engine. shared: the parameters that it may use in place."""
        carrier = make_carrier(self.data, unique or self.device > 0)  # an id finds the engine of one device
        if options.weights == "shared":
            return self._load(carrier, options, shared)
        if self.weights_path or not self.weights:
            return self._load(carrier, options, self.weights_path or None)
        handle, path = tempfile.mkstemp(prefix="tuyere_", suffix=".weights")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.weights)
            return self._load(carrier, options, path)
        finally:
            os.unlink(path)  # the engine has it mapped

    def _load(self, carrier, options: Options, weights: Weights) -> Engine:
        engine = Engine.from_carrier(carrier, self.device, cuda_graphs=options.cuda_graphs, weights=weights, may_be_absent=options.target is not None)
        if isinstance(engine, AbsentEngine):
            engine.weights = Path(self.weights_path).read_bytes() if self.weights_path else self.weights
        return engine


def build_engine(network, target: str, options: Options) -> Built:
    if target != "cpu":
        return_unused_memory()
    data, report, weights, path = _tuyere.build(network, builder_config(target, options), progress_of(options))
    device = int(target.removeprefix("cuda:")) if target.startswith("cuda:") else 0
    return Built(data, json.loads(report), weights, path, device)
