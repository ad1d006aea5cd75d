# SPDX-License-Identifier: Apache-2.0
"""Notices that parameters were replaced or written, and refits the engine that was built from them."""

import sys
import weakref
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from . import _tuyere, data_writes, swaps


class ArgumentWatch:
    """The parameters of one engine, which are arguments of every call."""

    def __init__(self, engine, names: Sequence[str], tensors: Sequence[torch.Tensor], positions: Sequence[int]):
        self.engine, self.names, self.positions = engine, list(names), list(positions)
        swaps.allow()
        self.native = _tuyere.ArgumentWatch(list(tensors), self.positions)
        data_writes.watch(tensors)

    def refit_if_changed(self, arguments: List[Any]):
        data_writes.publish()
        changes = self.native.changes(arguments)
        if changes is not None:
            weights = {self.names[c.position]: c.tensor for c in changes}
            data_writes.watch(weights.values())
            self.engine.refit(weights)
            self.native.accept(changes)


class Place:
    """Where a module keeps a tensor: an entry of a dictionary of its owner."""

    def __init__(self, owner: Any, entries: Dict[str, torch.Tensor], key: str):
        self.owner, self.entries, self.key = owner, entries, key

    @staticmethod
    def of(model, name: str) -> Optional["Place"]:
        """Of a parameter or buffer, by its qualified name. model: a module, or an ExportedProgram. None: it has no such tensor (torch.export names constants)."""
        if isinstance(model, torch.export.ExportedProgram):
            found = [entries for entries in (model.state_dict, model.constants) if name in entries]
            return Place(model, found[0], name) if found else None
        path, _, key = name.rpartition(".")
        owner = model
        for part in path.split(".") if path else []:
            owner = owner._modules.get(part)
            if owner is None:
                return None
        found = [entries for entries in (owner._parameters, owner._buffers) if isinstance(entries.get(key), torch.Tensor)]
        return Place(owner, found[0], key) if found else None


class OwnerWatch:
    """Parameters that belong to modules; apply: takes new values by name. It keeps no module and no parameter alive; those of a module that is gone are
    watched no more, and those that became of another type or shape, or went to the meta device, are not applied."""

    def __init__(self, apply: Callable[[Dict[str, torch.Tensor]], None], places: Sequence[Tuple[str, Place]]):
        self._apply = apply
        owners = {id(place.owner): weakref.ref(place.owner, self._forget) for _, place in places}
        self._places = [(name, owners[id(place.owner)], place.entries, place.key) for name, place in places]
        self._kinds = {name: _kind(place.entries[place.key]) for name, place in places}
        swaps.allow()
        self._start()

    def _start(self):
        self._places = [(*rest, entries, key) for *rest, entries, key in self._places if isinstance(entries.get(key), torch.Tensor)]
        self._native = _tuyere.OwnerWatch([(entries, key) for _, _, entries, key in self._places])
        data_writes.watch(entries[key] for _, _, entries, key in self._places)

    def _forget(self, owner, finalizing=sys.is_finalizing):
        if finalizing():  # nothing is called any more, and modules are being emptied
            return
        self.refit_if_changed()
        self._places = [place for place in self._places if place[1] is not owner]
        self._start()

    def refit_if_changed(self):
        data_writes.publish()
        places, native = self._places, self._native
        changes = native.changes()
        if changes is not None:
            self._refit({places[c.position][0]: c.tensor for c in changes})
            native.accept(changes)

    def _refit(self, tensors):
        data_writes.watch(tensors.values())
        usable = {name: t for name, t in tensors.items() if _kind(t)[:2] == self._kinds[name][:2] and not t.is_meta}
        if usable:
            self._apply({name: t.to(self._kinds[name][2]) for name, t in usable.items()})


def _kind(tensor):
    return tensor.dtype, tensor.shape, tensor.device
