# SPDX-License-Identifier: Apache-2.0
"""Writes through Parameter.data, as LoRA merges do (`weight.data += update`), leave no trace in PyTorch: the alias that .data returns has a version of its
own. For the parameters of engines, and only for them, .data is made to leave one in the parameter's version."""

import functools
import weakref
from typing import Any, Dict, Iterable, List

import torch

_DATA = torch.Tensor.data  # the C++ property
_watched: Dict[int, weakref.ref] = {}  # by id()
aliases: Dict[int, List[Any]] = {}  # [weak parameter, alias that shares its version with all that .data returned, its version when last looked at]


class _Data:
    """Parameter.data."""

    __doc__ = _DATA.__doc__

    def __get__(self, parameter, owner=None):
        if parameter is None:
            return self
        alias = _DATA.__get__(parameter)
        if id(parameter) not in _watched or type(alias) is not torch.Tensor or alias.is_inference():
            return alias
        entry = aliases.setdefault(id(parameter), [_watched[id(parameter)], alias, alias._version])
        return entry[1].detach()

    def __set__(self, parameter, value):
        _DATA.__set__(parameter, value)
        if id(parameter) in _watched:
            aliases.pop(id(parameter), None)
            _bump(parameter)


def watch(tensors: Iterable[torch.Tensor]):
    """From now on writes through .data change the version of these (at publish(), where the alias was written)."""
    new = [t for t in tensors if type(t) is torch.nn.Parameter and id(t) not in _watched]
    if new and not isinstance(torch.nn.Parameter.__dict__.get("data"), _Data):
        torch.nn.Parameter.data = _Data()
    for parameter in new:
        _watched[id(parameter)] = weakref.ref(parameter, functools.partial(_forget, id(parameter)))


def publish():
    """Brings what was written through aliases into the versions of the parameters. Cheap while nobody has used .data."""
    for entry in list(aliases.values()) if aliases else ():
        reference, alias, seen = entry
        parameter = reference()
        if parameter is not None and alias._version != seen:
            entry[2] = alias._version
            _bump(parameter)


def _bump(parameter):
    if not parameter.is_inference():
        torch.autograd.graph.increment_version(parameter)


def _forget(key, _):
    _watched.pop(key, None)
    aliases.pop(key, None)
