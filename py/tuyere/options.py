# SPDX-License-Identifier: Apache-2.0
"""Options of torch.compile(..., backend="tuyere", options={...}) and tuyere.compile(...): one table, with the names of Torch-TensorRT as aliases."""

import dataclasses
import difflib
import os
from typing import Any, Callable, Dict, List, Optional, Union

PRECISIONS = ("as_is", "fp32", "tf32", "fp16", "bf16")
WEIGHTS = ("engine", "separate", "shared")
SOURCES = ("own", "cudnn", "cublaslt", "onednn", "reference")


class OptionError(ValueError):
    """An option that does not exist, or a value that it cannot have."""


@dataclasses.dataclass
class Options:
    """See README.md for what each option means; the defaults are here."""

    precision: str = "as_is"
    strict: bool = False
    min_block_size: int = 1
    run_in_torch: List[str] = dataclasses.field(default_factory=list)
    optimization_level: int = 3
    workspace_size: Optional[int] = None
    tactic_sources: Optional[List[str]] = None
    timing_cache: Union[str, os.PathLike, bool] = True
    engine_cache: Union[str, os.PathLike, bool] = True
    target: Optional[str] = None
    profiles: Optional[List[Dict[str, Any]]] = None
    cuda_graphs: bool = True
    deterministic: bool = False
    progress: Union[bool, Callable, None] = None
    weights: str = "engine"
    disabled_passes: List[str] = dataclasses.field(default_factory=list)


def _precision_of(value):
    """enabled_precisions={torch.float16} of Torch-TensorRT -> "fp16"."""
    names = {str(v).replace("torch.", "") for v in (value if isinstance(value, (set, list, tuple, frozenset)) else [value])}
    for short, ours in (("float16", "fp16"), ("half", "fp16"), ("f16", "fp16"), ("bfloat16", "bf16"), ("float32", "fp32"), ("f32", "fp32")):
        if short in names:
            return ours
    raise OptionError(f"enabled_precisions={value!r}: nothing in it is a precision of tuyere; use precision= one of {', '.join(PRECISIONS)}")


_NAMESPACES = ("aten", "prims", "torchvision", "_c10d_functional")


def _op_text(op) -> str:
    """An op or a module path as the partitioner names it: torch.ops.aten.add.Tensor -> "aten::add.Tensor"."""
    if hasattr(op, "_qualified_op_name"):  # OpOverloadPacket
        return op._qualified_op_name
    text = op.name() if hasattr(op, "_schema") else str(op)
    text = text.removeprefix("torch.ops.")
    head, _, rest = text.partition(".")
    return f"{head}::{rest}" if "::" not in text and rest and head in _NAMESPACES else text


def _texts(value):
    return [_op_text(v) for v in ([value] if isinstance(value, str) else value)]


# alias -> (our name, conversion)
ALIASES: Dict[str, Any] = {
    "require_full_compilation": ("strict", bool),
    "torch_executed_ops": ("run_in_torch", _texts),
    "torch_executed_modules": ("run_in_torch", _texts),
    "enabled_precisions": ("precision", _precision_of),
    "timing_cache_path": ("timing_cache", str),
}


def profile_range(value):
    """(min, opt, max) of (min, opt, max) or {"min":..., "opt":..., "max":...}."""
    low, opt, high = (value["min"], value["opt"], value["max"]) if isinstance(value, dict) else value
    return int(low), int(opt), int(high)


def _check_profile(profile):
    if not isinstance(profile, dict):
        raise OptionError(f"profiles: {profile!r} must be a dict of size name -> (min, opt, max)")
    for name, value in profile.items():
        try:
            low, opt, high = profile_range(value)
        except (TypeError, ValueError, KeyError):
            raise OptionError(f"profiles: the range of {name!r} is {value!r}; it must be (min, opt, max) or a dict of these") from None
        if not 0 <= low <= opt <= high:
            raise OptionError(f"profiles: the range of {name!r} is {value!r}, but min <= opt <= max must hold")


def _check(options):
    if options.precision not in PRECISIONS:
        raise OptionError(f"precision={options.precision!r} is not one of {', '.join(PRECISIONS)}")
    if options.optimization_level not in range(6):
        raise OptionError(f"optimization_level={options.optimization_level!r} is not in 0..5")
    if options.weights not in WEIGHTS:
        raise OptionError(f"weights={options.weights!r} is not one of {', '.join(WEIGHTS)}")
    if options.workspace_size is not None and (not isinstance(options.workspace_size, int) or options.workspace_size < 0):
        raise OptionError(f"workspace_size={options.workspace_size!r} must be a number of bytes, or None for no limit")
    for name in ("timing_cache", "engine_cache"):
        if not isinstance(getattr(options, name), (bool, str, os.PathLike)):
            raise OptionError(f"{name}={getattr(options, name)!r} must be a path, True (the user cache folder) or False (none)")
    if not (options.progress is None or isinstance(options.progress, bool) or callable(options.progress)):
        raise OptionError(f"progress={options.progress!r} must be a bool or a function of (phase, done, total, what)")
    for profile in options.profiles or []:
        _check_profile(profile)
    if not isinstance(options.min_block_size, int) or options.min_block_size < 1:
        raise OptionError(f"min_block_size={options.min_block_size!r} must be an int of at least 1")
    for source in options.tactic_sources or []:
        if source not in SOURCES:
            raise OptionError(f"tactic_sources: {source!r} is not one of {', '.join(SOURCES)}")
    for name, kind in (("strict", bool), ("cuda_graphs", bool), ("deterministic", bool)):
        if not isinstance(getattr(options, name), kind):
            raise OptionError(f"{name}={getattr(options, name)!r} must be {kind.__name__}")


def parse_options(given: Optional[Dict[str, Any]]) -> Options:
    """Options from user keywords. Unknown names raise OptionError and suggest the nearest."""
    names = {f.name for f in dataclasses.fields(Options)}
    values: Dict[str, Any] = {}
    for key, value in (given or {}).items():
        name, convert = ALIASES.get(key, (key, lambda v: v))
        if name not in names:
            near = difflib.get_close_matches(key, sorted(names | set(ALIASES)), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"unknown option {key!r}.{hint} Options: {', '.join(sorted(names))}.")
        value = convert(value)
        if name == "run_in_torch":
            value = values.get(name, []) + _texts(value)
        values[name] = value
    options = Options(**values)
    _check(options)
    return options
