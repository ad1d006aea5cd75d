# SPDX-License-Identifier: Apache-2.0
"""Notices that parameters were replaced or written, and refits the engine that was built from them."""

from typing import Any, List, Sequence

import torch


class Watch:
    """The parameters of one engine. Writes through .data leave no trace in PyTorch and are not seen unless they change the address."""

    def __init__(self, engine, names: Sequence[str], tensors: Sequence[torch.Tensor]):
        self.engine = engine
        self.names = list(names)
        self.stamps: List[Any] = [self._stamp(t) for t in tensors]

    @staticmethod
    def _stamp(t: torch.Tensor):
        return (t.data_ptr(), 0 if t.is_inference() else t._version)

    def refit_if_changed(self, tensors: Sequence[torch.Tensor]):
        now = [self._stamp(t) for t in tensors]
        if now == self.stamps:
            return
        self.engine.refit({name: t for name, t, a, b in zip(self.names, tensors, now, self.stamps) if a != b})
        self.stamps = now
