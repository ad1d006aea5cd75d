# SPDX-License-Identifier: Apache-2.0
"""What happened to a graph: coverage, engines, tactics, times, and the reason for everything left to PyTorch."""

import dataclasses
import threading
from typing import Any, Dict, List, Tuple


class FallbackWarning(UserWarning):
    """Part of a model runs in PyTorch although the engine was asked for."""


@dataclasses.dataclass
class Report:
    """One graph that was handed over.

    fallbacks: (op, module path, file:line, reason) per node that is not native. engines: the build report of each engine (layers with tactics and
    microseconds, passes, arena and weight bytes).
    """

    name: str = "graph"
    num_nodes: int = 0
    num_native: int = 0
    num_hosted: int = 0
    num_outside: int = 0
    fallbacks: List[Tuple[str, str, str, str]] = dataclasses.field(default_factory=list)
    engines: List[Dict[str, Any]] = dataclasses.field(default_factory=list)
    target: str = ""
    precision: str = "as_is"
    seconds: float = 0.0

    @property
    def num_engines(self) -> int:
        return len(self.engines)

    def to_dict(self) -> Dict[str, Any]:
        return {**dataclasses.asdict(self), "num_engines": self.num_engines}

    @staticmethod
    def from_dict(values: Dict[str, Any]) -> "Report":
        names = {f.name for f in dataclasses.fields(Report)}
        report = Report(**{k: v for k, v in values.items() if k in names})
        report.fallbacks = [(op, module, where, reason) for op, module, where, reason in report.fallbacks]
        return report

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.num_native} of {self.num_nodes} nodes native, {self.num_hosted} hosted, {self.num_outside} outside, "
            f"{self.num_engines} engine{'s' * (self.num_engines != 1)} for {self.target} ({self.precision}), {self.seconds:.1f} s"
        ]
        for op, module, where, reason in self.fallbacks:
            lines.append(f"  in PyTorch: {op} ({', '.join(t for t in (module, where) if t)}): {reason}")
        for number, engine in enumerate(self.engines):
            lines += self._engine_lines(number, engine)
        return "\n".join(lines)

    @staticmethod
    def _engine_lines(number, engine):
        layers = engine["layers"]
        total = sum(layer["micros"] for layer in layers)
        timed = f", {total / 1e3:.3f} ms by its layers" if total else ""
        lines = [
            f"  engine {number}: {len(layers)} steps{timed}, weights {engine['weight_bytes'] / 1e6:.1f} MB, arena {engine['arena_bytes'] / 1e6:.1f} MB "
            f"({engine['arena_bytes'] / max(engine['arena_lower_bound'], 1):.2f}x of the bound), built in {engine['seconds']:.1f} s"
        ]
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in engine.get("phases", {}).items() if seconds >= 0.05)
        if phases:
            lines.append(f"    seconds: {phases} ({engine.get('timed', 0)} candidates timed, {engine.get('cache_hits', 0)} from the cache)")
        for layer in layers:
            micros = f"{layer['micros']:9.1f} us" if layer["micros"] else " " * 12
            lines.append(f"    {micros}  {layer['tactic']:32s} {layer['name']}")
        return lines


_lock = threading.Lock()
_reports: List[Report] = []


def add_report(report: Report):
    with _lock:
        _reports.append(report)


def reports() -> List[Report]:
    """Reports of all graphs compiled in this process, the newest last."""
    with _lock:
        return list(_reports)


def clear_reports():
    with _lock:
        _reports.clear()
