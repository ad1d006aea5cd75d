# SPDX-License-Identifier: Apache-2.0
"""Engine: one engine file, callable on tensors."""

import contextlib
import gc
import json
import os
import uuid
import weakref
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Union

import torch

from . import _tuyere
from .engine_file import CARRIER_HEADER, EngineFile
from .read_fx import DTYPES, TORCH_DTYPES


def check_memory(t: torch.Tensor, what: str) -> None:
    """Raises ValueError unless the tensor has memory that an engine can read."""
    if t.layout != torch.strided:
        raise ValueError(f"{what} has the layout {t.layout}; an engine takes dense tensors: call .to_dense()")
    if t.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{what} is on the device '{t.device}'; an engine takes tensors of the CPU or of a CUDA device")


def describe(t: torch.Tensor):
    """A tensor as the bindings take it."""
    if not isinstance(t, torch.Tensor):
        raise TypeError(f"an engine takes tensors, not {type(t).__name__}")
    check_memory(t, "a tensor")
    if t.dtype not in DTYPES:
        raise ValueError(f"the engine has no dtype {t.dtype}; cast the input to one of {', '.join(str(d) for d in DTYPES)}")
    device = -1 if t.device.type == "cpu" else t.device.index
    return (t.data_ptr(), DTYPES[t.dtype], list(t.shape), list(t.stride()), device)


def make_carrier(engine_file: bytes, unique: bool) -> torch.Tensor:
    """The uint8 tensor that tuyere::execute takes: header with id, then the engine file. unique: an id of its own, so that a refit of this engine
    never reaches another one with the same bytes."""
    return carrier_of(engine_file, _tuyere.carrier_header(uuid.uuid4().hex if unique else _tuyere.content_id(engine_file)))


def carrier_of(engine_file: bytes, header: bytes) -> torch.Tensor:
    carrier = torch.empty(len(header) + len(engine_file), dtype=torch.uint8)
    view = memoryview(carrier.numpy())
    view[: len(header)] = header
    view[len(header) :] = engine_file
    return carrier


def make_unique(carrier: torch.Tensor) -> None:
    """Gives a carrier an id of its own."""
    memoryview(carrier.numpy())[:CARRIER_HEADER] = _tuyere.carrier_header(uuid.uuid4().hex)


def unload_with(owner, carriers: Iterable[torch.Tensor]) -> None:
    """The engines of these carriers leave memory with `owner`."""
    weakref.finalize(owner, _unload, [bytes(carrier[:CARRIER_HEADER].numpy()) for carrier in carriers])


def _unload(headers):
    for header in headers:
        _tuyere.unload(header)


Weights = Union[str, os.PathLike, Dict[str, torch.Tensor], None]


def _shared(weights: Dict[str, torch.Tensor]):
    """Tensors as the bindings take those that an engine may use in place: with the object that owns the memory."""
    values = {name: t.detach().contiguous() for name, t in weights.items()}
    return {name: (describe(t), t) for name, t in values.items()}


def _places(weights: Weights):
    """(path of the weights file, shared tensors)."""
    if isinstance(weights, dict):
        return "", _shared({n: t for n, t in weights.items() if t.dtype in DTYPES})
    return "" if weights is None else os.fspath(weights), {}


def return_unused_memory():
    """Gives what PyTorch's allocator holds without using it (often another copy of the model, from a conversion) back to the device: tactics are timed,
    and the engine's weights stored, in memory of their own. A capture of a CUDA graph starts with the same."""
    if torch.cuda.is_available() and torch.cuda.is_initialized() and not torch.cuda.is_current_stream_capturing():
        gc.collect()
        with contextlib.suppress(RuntimeError):  # another thread captures into PyTorch's memory
            torch.cuda.empty_cache()


class FirstCalls:
    """Counts a program's calls up to the second, in which its engines on a GPU capture graphs: before it unused memory is returned."""

    def __init__(self, engines):
        self.left = 2 if any(e.target != "cpu" for e in engines if not isinstance(e, AbsentEngine)) else 0

    def count(self):
        """To be called while some are left."""
        self.left = max(self.left - 1, 0)
        if self.left == 0:
            return_unused_memory()


class Engine:
    """A loaded engine. Call it with tensors in the order of `inputs`; it returns a list of tensors."""

    def __init__(self, handle, carrier: Optional[torch.Tensor] = None):
        self._handle = handle
        self.carrier = carrier
        self.refitted = False

    @staticmethod
    def from_carrier(carrier: torch.Tensor, device: int = 0, cuda_graphs: bool = True, weights: Weights = None, may_be_absent: bool = False) -> "Engine":
        """may_be_absent: an engine for a GPU that is not here is no error, but an AbsentEngine."""
        try:
            handle = _tuyere.open_carrier(carrier, carrier.data_ptr(), carrier.numel(), max(device, 0), cuda_graphs, *_places(weights))
        except RuntimeError:
            file = EngineFile.of_carrier(carrier)
            if not may_be_absent or file.plan["target"] == "cpu" or not file.why_not_here:
                raise
            return AbsentEngine(file, carrier)
        return Engine(handle, carrier)

    @staticmethod
    def load(path, device: int = 0, weights: Weights = None) -> "Engine":
        """Loads an engine file (memory-mapped). weights, for an engine without its own: the path of its weights file (default: <path>.weights), or its
        parameters by name, such as a module's state_dict(), which it then uses in place where it can."""
        if not Path(path).exists():
            raise FileNotFoundError(f"no engine file at {path}")
        return Engine(_tuyere.load_file(str(path), device, True, *_places(weights)))

    def save(self, path, weights: str = "") -> None:
        """Writes the engine, with its current weights, as a safetensors file. weights: "engine" in that file, "separate" in <path>.weights, "shared"
        nowhere (who loads it passes the parameters); default: as it was built, and in <path>.weights for "shared"."""
        self._handle.save(str(path), weights)

    def save_weights(self, path) -> None:
        """Writes the weights alone: what load(..., weights=path) reads."""
        self._handle.save_weights(str(path))

    @property
    def report(self) -> Dict:
        """The build report: layers with tactics and microseconds, passes, bytes."""
        return json.loads(self.meta.get("report", "{}"))

    @property
    def inputs(self) -> List[Dict]:
        """name, dtype, shape (text where symbolic) and strides of each input."""
        return self._handle.inputs()

    @property
    def outputs(self) -> List[Dict]:
        return self._handle.outputs()

    @property
    def steps(self) -> List[Dict]:
        """The plan: name, tactic, config, problem, origins, microseconds per step."""
        return self._handle.steps()

    @property
    def target(self) -> str:
        return self._handle.target

    @property
    def meta(self) -> Dict[str, str]:
        return dict(self._handle.meta)

    @property
    def mode(self) -> str:
        """How the last call ran: "graph", "graph+copies" or "steps", with the reason."""
        return self._handle.mode()

    @property
    def arena_bytes(self) -> int:
        """Memory for intermediate results of the largest call so far, per concurrent caller."""
        return self._handle.arena_bytes()

    @property
    def weight_bytes(self) -> int:
        """Constants on the device."""
        return self._handle.weight_bytes

    @property
    def native(self):
        """The engine of the bindings."""
        return self._handle

    def __call__(self, *inputs: torch.Tensor) -> List[torch.Tensor]:
        outputs = self._allocate(inputs)
        self._handle.execute([describe(t) for t in inputs], [describe(t) for t in outputs], self._stream())
        return outputs

    def profile(self, *inputs: torch.Tensor) -> List[Dict]:
        """Microseconds of every step on these inputs."""
        outputs = self._allocate(inputs)
        times = self._handle.profile([describe(t) for t in inputs], [describe(t) for t in outputs], self._stream())
        steps = self.steps
        return [{**steps[index], "micros": micros} for index, micros in times]

    def refit(self, weights: Dict[str, torch.Tensor]) -> None:
        """New values for weights, by name; packed forms are recomputed. An engine built with weights="shared" uses these tensors in place."""
        self.refitted = True
        if self.meta.get("weights") == "shared":
            self._handle.share(_shared(weights), self._stream())
            return
        names = list(weights)
        values = [weights[n].detach().contiguous() for n in names]
        self._handle.refit(names, [describe(v) for v in values], self._stream())

    def refittable(self) -> List[str]:
        return self._handle.refittable()

    def _allocate(self, inputs: Sequence[torch.Tensor]) -> List[torch.Tensor]:
        device = "cpu" if self._handle.device < 0 else f"cuda:{self._handle.device}"
        described = self._handle.describe_outputs([describe(t) for t in inputs])
        return [torch.empty_strided(shape, strides, dtype=TORCH_DTYPES[dtype], device=device) for dtype, shape, strides in described]

    def _stream(self) -> int:
        return 0 if self._handle.device < 0 else torch.cuda.current_stream(self._handle.device).cuda_stream


class AbsentEngine(Engine):
    """An engine for a GPU that is not on this machine: it can be looked at and saved, not run."""

    carrier: torch.Tensor

    def __init__(self, file: EngineFile, carrier: torch.Tensor):
        self.file = file
        self.carrier = carrier
        self.refitted = False
        self.weights = b""  # the contents of its weights file

    @property
    def _handle(self):
        raise RuntimeError(self.file.why_not_here)

    def save(self, path, weights: str = "") -> None:
        if weights not in ("", self.meta.get("weights", "engine")):
            raise RuntimeError(f"weights={weights!r}: an engine for a GPU that is not here is saved as it was built")
        Path(path).write_bytes(memoryview(self.carrier.numpy())[CARRIER_HEADER:])
        if self.weights:
            self.save_weights(f"{path}.weights")

    def save_weights(self, path) -> None:
        if not self.weights:
            raise RuntimeError("the weights of this engine are not here: build it with weights='engine' or 'separate'")
        Path(path).write_bytes(self.weights)

    @property
    def inputs(self) -> List[Dict]:
        return self.file.io("inputs")

    @property
    def outputs(self) -> List[Dict]:
        return self.file.io("outputs")

    @property
    def steps(self) -> List[Dict]:
        return self.file.steps

    @property
    def target(self) -> str:
        return self.file.plan["target"]

    @property
    def meta(self) -> Dict[str, str]:
        return dict(self.file.plan.get("meta", {}))

    def refittable(self) -> List[str]:
        return self.file.refittable
