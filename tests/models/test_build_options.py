# SPDX-License-Identifier: Apache-2.0
"""Options of the builder do what README.md says: profiles, levels, workspace, determinism, progress."""

import json
import re

import pytest
import torch
import tuyere
from tuyere.engine_file import CARRIER_HEADER


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Linear(24, 48), torch.nn.Linear(48, 8)

    def forward(self, x):
        return torch.softmax(self.b(torch.relu(self.a(x))), -1)


SOURCES = ["own", "onednn", "reference"]  # every op has two kernels to choose from at level 4 and 5
N = torch.export.Dim("batch", min=1, max=256)


def build(profiles=None, rows=4, **options):
    with torch.no_grad():
        return tuyere.compile(
            Mlp().eval(), (torch.randn(rows, 24),), strict=True, engine_cache=False, dynamic_shapes={"x": {0: N}}, profiles=profiles, **options
        )


def symbol_ranges(engine):
    """{profile: {symbol: (min, opt, max)}} as the engine file says."""
    plan = engine._handle.plan()
    bodies = [plan["bodies"][k] for k in [0, *plan.get("profiles", [])]]
    return [{s["name"]: (s.get("min", 0), s.get("opt", 0), s.get("max")) for s in body["symbols"]} for body in bodies]


@pytest.mark.parametrize("name", ["batch", "x[0]"])
def test_profiles(name):
    model = Mlp().eval()
    program = build([{name: (1, 1, 4)}, {name: {"min": 5, "opt": 64, "max": 128}}])
    (first,), (second,) = (r.values() for r in symbol_ranges(program.engines[0]))
    assert first == (1, 1, 4) and second == (5, 64, 128)
    with torch.no_grad():
        for rows in (1, 4, 5, 64, 128, 2):
            x = torch.randn(rows, 24)
            torch.testing.assert_close(program(x), model(x))
        with pytest.raises(Exception, match=r"profile 1.*\[5,128\]"):
            program(torch.randn(129, 24))


def test_profiles_are_tuned_for_their_sizes(tmp_path):
    build([{"batch": (1, 1, 4)}, {"batch": (5, 64, 128)}], timing_cache=tmp_path / "t.jsonl", optimization_level=4, tactic_sources=SOURCES)
    keys = [json.loads(line)["key"] for line in (tmp_path / "t.jsonl").read_text().splitlines()[1:]]
    assert all(any(re.search(rf"\| s\d+={size}\b", key) for key in keys) for size in (1, 64))


def test_one_profile_is_checked():
    program = build([{"batch": (2, 4, 8)}])
    with torch.no_grad(), pytest.raises(Exception, match=r"\[2,8\]"):
        program(torch.randn(9, 24))


def test_unknown_sizes_are_named():
    with pytest.raises(tuyere.OptionError, match=r"no size 'bathc'.*batch"):
        build([{"bathc": (1, 2, 3)}])


@pytest.mark.parametrize("level", range(6))
def test_levels(level):
    program = build(optimization_level=level, timing_cache=False, tactic_sources=SOURCES)
    report = program.report().engines[0]
    assert (report["timed"] > 0) == (level >= 2)  # the products have several kernels at every level
    assert level < 4 or all(layer["micros"] > 0 for layer in report["layers"])  # nothing that could be timed was left to a model of its cost
    with torch.no_grad():
        x = torch.randn(3, 24)
        torch.testing.assert_close(program(x), Mlp().eval()(x))


def test_level_5_checks_in_the_network(tmp_path):
    cache = tmp_path / "t.jsonl"
    first = build(optimization_level=5, timing_cache=cache, tactic_sources=SOURCES)
    keys = {json.loads(line).get("key", "")[:8] for line in cache.read_text().splitlines()}
    assert "network " in keys
    second = build(optimization_level=5, timing_cache=cache, tactic_sources=SOURCES)
    assert second.report().engines[0]["timed"] == 0
    files = [bytes(program.engines[0].carrier[CARRIER_HEADER:].numpy()) for program in (first, second)]  # the header has an id per program
    assert files[0] == files[1]


def test_workspace_size_is_kept():
    program = build(workspace_size=0)
    plan = program.engines[0]._handle.plan()
    assert all(step.get("workspace", 0) == 0 for step in plan["bodies"][0]["steps"])
    with torch.no_grad():
        x = torch.randn(3, 24)
        torch.testing.assert_close(program(x), Mlp().eval()(x))


def test_deterministic_reaches_the_kernels():
    class Scatter(torch.nn.Module):
        def forward(self, x, index, source):
            return x.index_add(0, index, source)

    inputs = (torch.zeros(4, 3), torch.tensor([0, 1, 1, 3, 1]), torch.randn(5, 3))
    for wanted in (False, True):
        with torch.no_grad():
            program = tuyere.compile(Scatter(), inputs, strict=True, engine_cache=False, deterministic=wanted)
            torch.testing.assert_close(program(*inputs), Scatter()(*inputs))
        assert all(("nondeterministic" in step["problem"]) != wanted for step in program.engines[0].steps)


def test_progress(capsys):
    seen = []

    def progress(phase, done, total, what):
        seen.append((phase, done, total))

    timed = {"timing_cache": False, "optimization_level": 4, "tactic_sources": SOURCES}
    build(progress=progress, **timed)
    phases = [phase for phase, _, _ in seen]
    assert {"optimize", "tune", "compile", "emit"} <= set(phases)
    assert all(0 <= done <= total for _, done, total in seen) and seen[-1] == ("emit", 1, 1)
    with pytest.raises(Exception, match="cancelled"):
        build(progress=lambda phase, done, total, what: phase != "tune", **timed)
    capsys.readouterr()
    build(progress=True, timing_cache=False)
    assert "tuyere: emit" in capsys.readouterr().err
    build(progress=False, timing_cache=False)
    assert capsys.readouterr().err == ""
