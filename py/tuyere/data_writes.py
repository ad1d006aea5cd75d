# SPDX-License-Identifier: Apache-2.0
"""Writes through Parameter.data, as LoRA merges do (`weight.data += update`), leave no trace in PyTorch: the alias that .data returns has a version of its
own. For the parameters of engines, and only for them, .data is made to leave one in the parameter's version."""

import functools
import threading
import weakref
from typing import Callable, Dict, Iterable, Optional, Set

import torch

_DATA = torch.Tensor.data  # the C++ property
_watched: Dict[int, weakref.ref] = {}  # by id()
_written: Dict[int, "_Aliases"] = {}  # by id(): parameters of which aliases live
_lock = threading.RLock()  # weak references call back at any time, in the midst of the code here too


class _Aliases:
    """What .data of one parameter returned, while any of it lives: all have the version of `self.alias`. Views of them keep them alive."""

    def __init__(self, parameter: Callable[[], Optional[torch.Tensor]], key: int, alias: torch.Tensor):
        self.parameter, self.key, self.alias, self.seen = parameter, key, alias, alias._version
        self.living: Set[weakref.ref] = set()

    def hand_out(self) -> torch.Tensor:
        out = self.alias.detach()
        self.living.add(weakref.ref(out, self._is_gone))
        return out

    def publish(self):
        """Brings what was written into the version of the parameter."""
        parameter, version = self.parameter(), self.alias._version
        if parameter is not None and version != self.seen:
            self.seen = version
            _bump(parameter)

    def _is_gone(self, reference):
        with _lock:
            self.living.discard(reference)
            if not self.living and _written.get(self.key) is self:
                self.publish()
                del _written[self.key]


class _Data:
    """Parameter.data."""

    __doc__ = _DATA.__doc__

    def __get__(self, parameter, owner=None):
        if parameter is None:
            return self
        alias, key = _DATA.__get__(parameter), id(parameter)
        if key not in _watched or type(alias) is not torch.Tensor or alias.is_inference():
            return alias
        with _lock:
            if key not in _written:
                _written[key] = _Aliases(_watched[key], key, alias)
            return _written[key].hand_out()

    def __set__(self, parameter, value):
        if id(parameter) not in _watched:
            return _DATA.__set__(parameter, value)
        before = parameter.data_ptr()
        _DATA.__set__(parameter, value)
        if parameter.data_ptr() != before:  # else aliases are aliases still
            _written.pop(id(parameter), None)
        _bump(parameter)


def watch(tensors: Iterable[torch.Tensor]):
    """From now on writes through .data change the version of these (at publish(), where the alias was written)."""
    new = [t for t in tensors if type(t) is torch.nn.Parameter and id(t) not in _watched]
    if new and not isinstance(torch.nn.Parameter.__dict__.get("data"), _Data):
        torch.nn.Parameter.data = _Data()
    for parameter in new:
        _watched[id(parameter)] = weakref.ref(parameter, functools.partial(_forget, id(parameter)))


def release(parameter: torch.Tensor):
    """Keeps no weak reference to it; writes through its aliases are no longer its own."""
    with _lock:
        aliases = _written.get(id(parameter))
        if aliases is not None:
            aliases.parameter = _no_parameter
        _forget(id(parameter), None)


def publish():
    """Brings what was written through living aliases into the versions of the parameters."""
    if _written:
        for aliases in list(_written.values()):
            aliases.publish()


def pending() -> Dict[int, "_Aliases"]:
    """Empty while there is nothing to publish."""
    return _written


def _bump(parameter):
    if not parameter.is_inference():
        torch.autograd.graph.increment_version(parameter)


def _no_parameter():
    return None


def _forget(key, _):
    _watched.pop(key, None)
    _written.pop(key, None)
