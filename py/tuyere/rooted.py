# SPDX-License-Identifier: Apache-2.0
"""Calls that Dynamo's code gives the modules at the root of a model, where it would fetch every weight with the interpreter: 0.15 to 0.2 ms for some 260 weights, and 0.05 to give them back.
One compiled graph serves all modules of a class, so what a call is given still tells whose weights are meant; py/bindings/rooted.cpp finds them."""

import collections
import inspect
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch

from . import _compat, _compat_calls, _tuyere, data_writes

_ABSENT = object()


@dataclass
class Rooted:
    """Another form of a function of the arguments of a graph."""

    code: CodeType  # of that function
    roots: List[Any]  # sources of what calls are given first
    left_out: Dict[int, Any]  # arguments that calls are not given: their sources, by position
    count: int  # of that function's arguments
    call: Callable


def with_roots(whole, runner, sources: Sequence[Any], inputs: Sequence[Any]):
    """`whole`, by which a runner's graph is called, with its other form in the attribute `rooted` when all weights that the runner watches are parts of modules. sources: Dynamo's, of the arguments;
    None where unknown."""
    if not isinstance(runner.direct, _tuyere.DirectCall) or len(runner.watches) != 1 or runner.first_calls.left or len(sources) != len(inputs):
        return whole
    weights = runner.watches[0].positions
    paths = {k: _compat_calls.path_from_root(sources[k]) for k in weights}
    roots = list(dict.fromkeys(root for root, _ in paths.values()))
    steps, places = _steps(roots, paths, inputs)
    if steps is None:
        return whole
    others = [k for k in range(len(inputs)) if k not in paths]
    position = {k: len(roots) + n for n, k in enumerate(others)}
    call = _tuyere.rooted_call(
        runner.direct,
        runner.watches[0].native,
        len(roots),
        steps,
        [places[k] for k in weights],
        [places[k] if k in places else -1 - position[k] for k in range(len(inputs))],
        [position.get(k, -1) for k in range(len(inputs))],
        whole,
        [torch.is_grad_enabled, _compat.are_transforms_active],
        data_writes.pending(),
        _compat.set_eval_frame,
    )
    if call is None:
        return whole
    shown: Any = FunctionType(
        whole.__code__, whole.__globals__, whole.__name__, whole.__defaults__, whole.__closure__
    )  # the garbage collector does not see that `call` refers to `whole`
    shown.rooted = Rooted(whole.__code__, roots, {k: sources[k] for k in weights}, len(inputs), call)
    return shown


def _steps(roots, paths, inputs) -> Tuple[Any, Dict[int, int]]:
    """The paths as one tree, whose values are the roots, then what each step finds: (steps, where each path ends). None: the way that C++ goes would not be the interpreter's."""
    steps: List[Tuple[int, str, bool]] = []
    number: Dict[Tuple[int, str, bool], int] = {}
    ends = {}
    objects = [_compat_calls.value_at(root) for root in roots]
    for k, (root, path) in paths.items():
        at = roots.index(root)
        value = objects[at]
        for name, is_attribute in path:
            value = _plain_attribute(value, name) if is_attribute else _plain_entry(value, name)
            step = (at, name, is_attribute)
            if step not in number:
                number[step] = len(roots) + len(steps)
                steps.append(step)
            at = number[step]
        if not path or value is not inputs[k]:
            return None, {}
        ends[k] = at
    return steps, ends


def _plain_attribute(value, name):
    kind = type(value)
    own = kind.__getattribute__ is object.__getattribute__ and inspect.getattr_static(kind, name, _ABSENT) is _ABSENT
    return vars(value).get(name, _ABSENT) if own and hasattr(value, "__dict__") else _ABSENT


def _plain_entry(value, name):
    return value.get(name, _ABSENT) if type(value) in (dict, collections.OrderedDict) else _ABSENT
