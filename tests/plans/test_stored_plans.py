# SPDX-License-Identifier: Apache-2.0
"""Engine files of all released plan versions keep loading and running (runtime/plan/FORMAT.md). tools/store_plans.py writes those of the present one."""

from pathlib import Path

import pytest
import torch
import tuyere
from safetensors.torch import load_file

STORED = sorted((Path(__file__).parent / "stored").glob("*.engine"))


def marks(path):
    return [pytest.mark.gpu] if "sm_" in path.stem else []


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem, marks=marks(p)) for p in STORED])
def test_runs(path):
    if reason := tuyere.EngineFile.read(path).why_not_here:  # a GPU of another architecture
        with pytest.raises(RuntimeError, match="this engine is for sm_80"):
            tuyere.Engine.load(path)
        pytest.skip(reason)
    engine = tuyere.Engine.load(path)
    data = load_file(path.with_suffix(".data"))
    device = "cpu" if engine.target == "cpu" else "cuda"
    torch.testing.assert_close(engine(data["input"].to(device))[0].cpu(), data["output"], rtol=1e-4, atol=1e-4)
    single = engine(data["input"][:1].contiguous().to(device))[0].cpu()
    torch.testing.assert_close(single, data["output"][:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in STORED])
def test_header_is_read(path):
    file = tuyere.EngineFile.read(path)
    assert file.plan["version"] == int(path.stem[1]) and file.steps and file.io("inputs") and file.io("outputs")
    if file.plan["target"] == "cpu":
        assert file.why_not_here == ""


def test_there_is_one_of_every_kind():
    assert {"v1_cnn_own", "v1_cnn_onednn", "v1_attention_own", "v1_cnn_sm_80"} <= {p.stem for p in STORED}
