# SPDX-License-Identifier: Apache-2.0
"""The engine cache and the timing cache: what they keep, and that nothing stale comes out of them."""

import json

import pytest
import torch
import tuyere


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).eval()


X = torch.ones(2, 16)
TIMED = {"optimization_level": 4, "tactic_sources": ["own", "onednn", "reference"]}  # every op has two kernels to choose from


def build(module, folder, **options):
    with torch.no_grad():
        return tuyere.compile(module, (X,), strict=True, engine_cache=folder, **options)


def from_cache(program):
    return program.report().engines[0]["from_cache"]


@pytest.mark.parametrize("weights", ["engine", "separate", "shared"])
def test_second_build_comes_from_the_cache(tmp_path, weights):
    first, second = (build(model(), tmp_path, weights=weights) for _ in range(2))
    assert not from_cache(first) and from_cache(second)
    assert torch.equal(first(X), second(X))
    strip = ("tactic", "config", "name", "micros")
    layers = [[{k: layer[k] for k in strip} for layer in p.report().engines[0]["layers"]] for p in (first, second)]
    assert layers[0] == layers[1] and layers[0]


def test_torch_compile_shares_it(tmp_path):
    options = {"strict": True, "engine_cache": str(tmp_path)}
    for expected in (False, True):
        torch._dynamo.reset()
        with torch.no_grad():
            torch.compile(model(), backend="tuyere", options=options)(X)
        assert tuyere.reports()[-1].engines[0]["from_cache"] == expected


def test_what_decides_is_in_the_key(tmp_path):
    build(model(), tmp_path)
    other = model()
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    assert not from_cache(build(other, tmp_path))
    for options in ({"precision": "bf16"}, {"optimization_level": 0}, {"tactic_sources": ["own"]}, {"workspace_size": 0}, {"deterministic": True}):
        assert not from_cache(build(model(), tmp_path, **options)), options
    assert from_cache(build(model(), tmp_path))


def test_damaged_entries_are_built_again(tmp_path):
    want = build(model(), tmp_path)(X)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    again = build(model(), tmp_path)
    assert not from_cache(again) and torch.equal(again(X), want)
    assert from_cache(build(model(), tmp_path))


def test_no_cache(tmp_path):
    assert not from_cache(build(model(), False)) and not from_cache(build(model(), False))


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert build(model(), blocked / "cache")(X).shape == (2, 4)


def test_timing_cache_knows_its_libraries(tmp_path):
    path = tmp_path / "timing.jsonl"
    build(model(), False, timing_cache=path, **TIMED)
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head == {"tuyere": "timing cache", "version": 2} and lines
    assert all("tuyere " in line["libraries"] and "oneDNN " in line["libraries"] for line in lines)
    assert build(model(), False, timing_cache=path, **TIMED).report().engines[0]["timed"] == 0
    stale = path.read_text().replace("oneDNN ", "oneDNN 0.")
    path.write_text(stale)
    report = build(model(), False, timing_cache=path, **TIMED).report().engines[0]
    assert report["timed"] > 0 and report["cache_hits"] == 0
    assert set(stale.splitlines()) < set(path.read_text().splitlines())  # kept beside the new ones


def test_engine_files_say_what_they_were_built_with(tmp_path):
    program = build(model(), False)
    path = tmp_path / "model.engine"
    program.engines[0].save(path)
    engine = tuyere.Engine.load(path)
    assert "oneDNN " in engine.meta["libraries"] and "tuyere " in engine.meta["libraries"]
    assert [layer["tactic"] for layer in engine.report["layers"]] == [layer["tactic"] for layer in program.report().engines[0]["layers"]]
    assert engine.report["weight_bytes"] > 0 and engine.report["passes"]


def test_a_named_timing_cache_is_filled_and_followed(tmp_path):
    path = tmp_path / "timing.jsonl"
    first = build(model(), tmp_path / "engines", timing_cache=path, **TIMED)
    assert not from_cache(first) and path.exists()
    assert from_cache(build(model(), tmp_path / "engines", timing_cache=path, **TIMED))
    path.write_text(path.read_text().replace('"us":', '"us":1'))
    assert not from_cache(build(model(), tmp_path / "engines", timing_cache=path, **TIMED))
    path.unlink()
    assert not from_cache(build(model(), tmp_path / "engines", timing_cache=path, **TIMED)) and path.exists()
