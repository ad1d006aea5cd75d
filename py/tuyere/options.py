# SPDX-License-Identifier: Apache-2.0
"""Options of torch.compile(..., backend="tuyere", options={...}) and tuyere.compile(...): one table, with the names of Torch-TensorRT as aliases."""

import dataclasses
import difflib
import operator
import os
from typing import Any, Callable, Dict, List, Optional, Union

import torch

from . import _tuyere

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
    if not isinstance(op, str) and not hasattr(op, "_schema"):
        raise OptionError(f"run_in_torch: {op!r} is neither an operator nor a string")
    text = op.name() if hasattr(op, "_schema") else op
    text = text.removeprefix("torch.ops.")
    head, _, rest = text.partition(".")
    return f"{head}::{rest}" if "::" not in text and rest and head in _NAMESPACES else text


def _texts(value):
    if value is None:
        return []
    return [_op_text(v) for v in (value if isinstance(value, (list, tuple, set, frozenset)) else [value])]


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
    return operator.index(low), operator.index(opt), operator.index(high)


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


def _is_int(value, least=0):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_names(name, value, known):
    """A list of strings; known: what they may be, or None."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise OptionError(f"{name}={value!r} must be a list of names" + (f" out of {', '.join(known)}" if known else ""))
    for one in value:
        if known and one not in known:
            raise OptionError(f"{name}: {one!r} is not one of {', '.join(known)}")


def _check_run_in_torch(entries):
    """An operator must exist; what is no operator is a module path, which not every graph has."""
    _check_names("run_in_torch", entries, None)
    for text in entries:
        space, _, rest = text.partition("::")
        name, _, overload = rest.partition(".")
        packet = getattr(getattr(torch.ops, space), name, None) if rest else None
        if rest and (packet is None or (overload and overload not in packet.overloads())):
            raise OptionError(f"run_in_torch: there is no operator {text!r}; write 'aten::add', 'aten::add.Tensor', torch.ops.aten.add or the path of a module")


def _check_target(target):
    if not isinstance(target, str) or not target:
        raise OptionError(f"target={target!r} must be a string: cpu, cuda, cuda:<number>, sm_80, sm_90a or sm_100a; or None for the device of the inputs")
    try:
        _tuyere.library_versions(target)
    except _tuyere.UserError as error:
        raise OptionError(str(error).removeprefix("error: ")) from None


def _check_choice(name, value, choices):
    if value in choices:
        return
    near = difflib.get_close_matches(str(value).lower().replace("torch.", "").replace("float", "fp"), choices, n=1)
    raise OptionError(f"{name}={value!r} is not one of {', '.join(choices)}." + (f" Did you mean {near[0]!r}?" if near else ""))


def _check(options):
    _check_choice("precision", options.precision, PRECISIONS)
    _check_choice("weights", options.weights, WEIGHTS)
    if not _is_int(options.optimization_level) or options.optimization_level > 5:
        raise OptionError(f"optimization_level={options.optimization_level!r} must be an int in 0..5")
    if options.workspace_size is not None and not _is_int(options.workspace_size):
        raise OptionError(f"workspace_size={options.workspace_size!r} must be a number of bytes, or None for no limit")
    for name in ("timing_cache", "engine_cache"):
        if not isinstance(getattr(options, name), (bool, str, os.PathLike)):
            raise OptionError(f"{name}={getattr(options, name)!r} must be a path, True (the user cache folder) or False (none)")
    if not (options.progress is None or isinstance(options.progress, bool) or callable(options.progress)):
        raise OptionError(f"progress={options.progress!r} must be a bool or a function of (phase, done, total, what)")
    if not isinstance(options.profiles or [], (list, tuple)):
        raise OptionError(f"profiles={options.profiles!r} must be a list of dicts, each size name -> (min, opt, max)")
    for profile in options.profiles or []:
        _check_profile(profile)
    if not _is_int(options.min_block_size, 1):
        raise OptionError(f"min_block_size={options.min_block_size!r} must be an int of at least 1")
    _check_names("tactic_sources", options.tactic_sources or [], SOURCES)
    _check_names("disabled_passes", options.disabled_passes, _tuyere.pass_names())
    _check_run_in_torch(options.run_in_torch)
    for name in ("strict", "cuda_graphs", "deterministic"):
        if not isinstance(getattr(options, name), bool):
            raise OptionError(f"{name}={getattr(options, name)!r} must be bool")
    if options.target is not None:
        _check_target(options.target)


def checked_mapping(given) -> Dict[str, Any]:
    if given is not None and not isinstance(given, dict):
        raise OptionError(f"options={given!r} must be a dict of option name -> value")
    return given or {}


def parse_options(given: Optional[Dict[str, Any]]) -> Options:
    """Options from user keywords. Unknown names raise OptionError and suggest the nearest."""
    names = {f.name for f in dataclasses.fields(Options)}
    values: Dict[str, Any] = {}
    for key, value in checked_mapping(given).items():
        name, convert = ALIASES.get(key, (key, lambda v: v))
        if name not in names:
            near = difflib.get_close_matches(key, sorted(names | set(ALIASES)), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"unknown option {key!r}.{hint} Options: {', '.join(sorted(names))}.")
        value = convert(value)
        if name == "target" and isinstance(value, torch.device):
            value = str(value)
        if name == "run_in_torch":
            value = values.get(name, []) + _texts(value)
        values[name] = value
    options = Options(**values)
    _check(options)
    return options
