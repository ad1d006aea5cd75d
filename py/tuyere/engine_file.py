# SPDX-License-Identifier: Apache-2.0
"""What the header of an engine file says, read without loading it: also for engines of a GPU that is not here."""

import dataclasses
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import _tuyere

CARRIER_HEADER = 64  # bytes before the file in the tensor that tuyere::execute takes
_MAX_HEADER = 100_000_000  # the limit of safetensors


def _header_length(prefix: bytes) -> int:
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    return length if length <= _MAX_HEADER else 0


@dataclasses.dataclass
class EngineFile:
    """The plan (see runtime/plan/FORMAT.md) and the tensors of a file."""

    path: str
    size: int
    metadata: Dict[str, str]
    plan: Dict[str, Any]
    tensors: Dict[str, Dict[str, Any]]
    why_not_here: str  # "" when it runs on this machine

    @staticmethod
    def read(path) -> "EngineFile":
        with Path(path).open("rb") as file:
            prefix = file.read(8)
            return EngineFile.parse(prefix + file.read(_header_length(prefix)), str(path), Path(path).stat().st_size)

    @staticmethod
    def of_carrier(carrier) -> "EngineFile":
        """The header of the engine in the tensor that tuyere::execute takes."""
        contents = carrier.numpy()[CARRIER_HEADER:]
        length = 8 + _header_length(contents[:8].tobytes())
        return EngineFile.parse(contents[:length].tobytes(), "the engine", contents.nbytes)

    @staticmethod
    def parse(header: bytes, path: str, size: int) -> "EngineFile":
        """From the first bytes of an engine file, with their length prefix."""
        try:
            tensors = json.loads(header[8:])
            metadata = tensors.pop("__metadata__")
            plan = json.loads(metadata["tuyere"])
            plan["bodies"][0]  # noqa: B018  a plan has a program
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise ValueError(f"{path} is not an engine file, or a damaged one: {_tuyere.check_engine(header)}") from None
        return EngineFile(path, size, metadata, plan, tensors, _tuyere.check_engine(header))

    @property
    def program(self) -> Dict[str, Any]:
        return self.plan["bodies"][0]

    @property
    def steps(self) -> List[Dict[str, Any]]:
        return self.program.get("steps", [])

    @property
    def refittable(self) -> List[str]:
        elsewhere = json.loads(self.metadata.get("elsewhere", "{}"))  # in a weights file, or the caller's
        return sorted(name.removeprefix("param/") for name in [*self.tensors, *elsewhere] if name.startswith("param/"))

    @property
    def symbols(self) -> Dict[str, Dict[str, Any]]:
        return {s["name"]: s for s in self.program.get("symbols", [])}

    def io(self, kind: str) -> List[Dict[str, Any]]:
        """kind: "inputs" or "outputs"; name, dtype, shape of each."""
        tensors = self.program["tensors"]
        return [{"name": io["name"], **{k: tensors[io.get("tensor", 0)].get(k, []) for k in ("dtype", "shape")}} for io in self.program.get(kind, [])]

    def bytes_of(self, prefix: str) -> int:
        return sum(t["data_offsets"][1] - t["data_offsets"][0] for name, t in self.tensors.items() if name.startswith(prefix))

    def sizes(self, given: Optional[Dict[str, int]] = None) -> Dict[str, int]:
        """A value for every symbol: the given one, or what the engine was tuned for."""
        given = dict(given or {})
        values = {}
        for name, symbol in self.symbols.items():
            tuned = symbol.get("opt", 0)
            values[name] = given.pop(name, tuned if tuned > 0 else max(symbol.get("min", 0), 1))
        if given:
            raise ValueError(f"the engine has no size {', '.join(map(repr, given))}; its sizes: {', '.join(values) or 'none'}")
        return values

    def shape(self, io: Dict[str, Any], sizes: Dict[str, int]) -> List[int]:
        return [d if isinstance(d, int) else _tuyere.eval_size(d, sizes) for d in io["shape"]]

    def __str__(self) -> str:
        origin = self.plan.get("meta", {}).get("tuyere", "?")
        lines = [f"{self.path}: {self.size / 1e6:.2f} MB, version {self.plan['version']}, built by tuyere {origin} for {self.plan['target']}"]
        if self.plan.get("device_name"):
            lines[0] += f" ({self.plan['device_name']})"
        lines.append(f"  runs here: {'no: ' + self.why_not_here if self.why_not_here else 'yes'}")
        for kind in ("inputs", "outputs"):
            for io in self.io(kind):
                lines.append(f"  {kind[:-1]:6s} {io['name']}: {io['dtype']}[{','.join(map(str, io['shape']))}]")
        for name, s in self.symbols.items():
            top = f"..{s['max']}" if "max" in s else " and more"
            lines.append(f"  size   {name}: {s.get('min', 0)}{top}, tuned for {self.sizes()[name]}")
        weights, blobs = self.bytes_of("const/"), self.bytes_of("blob/")
        lines.append(f"  constants {weights / 1e6:.2f} MB, parameters kept for refit {self.bytes_of('param/') / 1e6:.2f} MB, device code {blobs / 1e6:.2f} MB")
        lines += self._step_lines()
        return "\n".join(lines)

    def _step_lines(self) -> List[str]:
        total = sum(s.get("micros", 0) for s in self.steps)
        lines = [f"  {len(self.steps)} steps" + (f", {total / 1e3:.3f} ms by the builder's measurements" if total else "")]
        for step in self.steps:
            micros = f"{step['micros']:9.1f} us" if step.get("micros") else " " * 12
            lines.append(f"    {micros}  {step.get('tactic') or step['executor']:32s} {step.get('name', '')}")
        tactics = Counter(s.get("tactic") or s["executor"] for s in self.steps)
        return lines + ["  tactics: " + ", ".join(f"{count} {name}" for name, count in tactics.most_common())]
