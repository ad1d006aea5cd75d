# SPDX-License-Identifier: Apache-2.0
"""Network -> engine, with the options of the user."""

import gc
import sys

import torch

from . import _tuyere
from .options import Options


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
    config.timing_cache = options.timing_cache if isinstance(options.timing_cache, str) else "default" if options.timing_cache else ""
    config.disabled_passes = list(options.disabled_passes)
    config.deterministic = options.deterministic
    config.cuda_graphs = options.cuda_graphs
    config.tf32_matmul = torch.backends.cuda.matmul.allow_tf32
    config.tf32_conv = torch.backends.cudnn.allow_tf32
    config.profiles = [_profile(p) for p in options.profiles or []]
    return config


def _profile(ranges):
    """{"s0": (min, opt, max)} or {"s0": {"min":..., "opt":..., "max":...}}."""
    profile = _tuyere.OptimizationProfile()
    for symbol, r in ranges.items():
        low, opt, high = (r["min"], r["opt"], r["max"]) if isinstance(r, dict) else r
        profile.set(symbol, low, opt, high)
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


def _return_unused_memory():
    """Gives what PyTorch's allocator holds without using it (often another copy of the model, from a conversion) back to the device: tactics are timed,
    and the engine's weights stored, in memory of their own. A capture of a CUDA graph starts with the same."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def build_engine(network, target: str, options: Options):
    """(engine file bytes, report dict)."""
    if target != "cpu":
        _return_unused_memory()
    return _tuyere.build(network, builder_config(target, options), progress_of(options))
