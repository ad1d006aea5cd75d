# SPDX-License-Identifier: Apache-2.0
"""Bad input gets an error that says what to do."""

import pytest
import torch
import tuyere

MODEL = torch.nn.Linear(4, 3).eval()
X = torch.randn(2, 4)


@pytest.mark.parametrize(
    "options,text",
    [
        ({"precison": "fp16"}, "Did you mean 'precision'"),
        ({"precision": "fp12"}, "fp12.*is not one of"),
        ({"optimization_level": 9}, "0..5"),
        ({"tactic_sources": ["tensorrt"]}, "tensorrt"),
        ({"min_block_size": 0}, "at least 1"),
        ({"strict": "yes"}, "must be bool"),
        ({"weights": "cloud"}, "engine, separate, shared"),
        ({"workspace_size": -5}, "number of bytes"),
        ({"timing_cache": 3}, "timing_cache"),
        ({"engine_cache": 3}, "engine_cache"),
        ({"progress": 3}, "progress"),
        ({"profiles": [{"n": (4, 2, 8)}]}, "min <= opt <= max"),
        ({"profiles": [{"n": 4}]}, "range of 'n'"),
        ({"profiles": [{"n": (1.5, 2, 3)}]}, "range of 'n'"),
        ({"profiles": {"n": (1, 2, 3)}}, "must be a list of dicts"),
        ({"precision": "FP16"}, "Did you mean 'fp16'"),
        ({"precision": torch.float16}, "Did you mean 'fp16'"),
        ({"optimization_level": 3.0}, "must be an int in 0..5"),
        ({"tactic_sources": "own"}, "must be a list of names out of own"),
        ({"disabled_passes": ["fuse_all"]}, "fuse_all.*is not one of simplify, "),
        ({"run_in_torch": ["aten::bogus"]}, "no operator 'aten::bogus'"),
        ({"run_in_torch": [3]}, "neither an operator nor a string"),
        ({"target": ""}, "must be a string: cpu"),
        ({"target": "sm_12345"}, "unknown target 'sm_12345'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(tuyere.OptionError, match=text):
        tuyere.compile(MODEL, (X,), **options)
    with torch.no_grad(), pytest.raises(Exception, match=text):
        torch.compile(MODEL, backend="tuyere", options=options)(X)


def test_aliases():
    from tuyere.options import parse_options

    options = parse_options(
        {"require_full_compilation": True, "torch_executed_ops": [torch.ops.aten.relu.default, "aten.add.Tensor"], "enabled_precisions": {torch.float16}}
    )
    assert options.strict and options.precision == "fp16" and options.run_in_torch == ["aten::relu", "aten::add.Tensor"]


@pytest.mark.parametrize(
    "bad,text",
    [
        (torch.randn(2, 4, dtype=torch.float64), "f64"),
        (torch.randn(2, 5), "5"),
        (torch.randn(2, 4, 1), "rank|dimensions"),
    ],
)
def test_wrong_inputs(bad, text):
    with torch.no_grad():
        engine = tuyere.compile(MODEL, (X,)).engines[0]
        with pytest.raises(Exception, match=text):
            engine(bad)


@pytest.mark.parametrize(
    "bad,text",
    [(None, "must be a tensor, not NoneType"), (X.to("meta"), "on the device 'meta'"), (X.to_sparse(), "call .to_dense()"), (3.0, "not float")],
)
def test_what_is_no_input(bad, text):
    with torch.no_grad():
        program = tuyere.compile(MODEL, (X,))
        with pytest.raises((TypeError, ValueError), match=text):
            program(bad)
        with pytest.raises((TypeError, ValueError), match=text.replace("must be a tensor, ", "")):
            program.engines[0](bad)


def test_options_of_another_type():
    with torch.no_grad(), pytest.raises(Exception, match="must be a dict of option name"):
        torch.compile(MODEL, backend="tuyere", options=3)(X)
    with pytest.raises(TypeError, match="inputs must be a tensor, or a tuple"):
        tuyere.compile(MODEL, None)


def test_what_is_no_program(tmp_path):
    with torch.no_grad():
        program = tuyere.compile(MODEL, (X,))
    program.engines[0].save(tmp_path / "m.engine")
    with pytest.raises(ValueError, match="tuyere.Engine.load"):
        tuyere.load(tmp_path / "m.engine")
    with pytest.raises(FileNotFoundError, match="no program at"):
        tuyere.load(tmp_path / "absent.pt2")
    with pytest.raises(RuntimeError, match="lacks weights that the program needs"):
        program.load_state_dict({"other": X})


def test_absent_gpu_target():
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with torch.no_grad(), pytest.raises(Exception, match="GPU|CUDA|device|driver"):
        tuyere.compile(MODEL, (X,), target="cuda", strict=True)


def test_unknown_target():
    with torch.no_grad(), pytest.raises(Exception, match="sm_12345"):
        tuyere.compile(MODEL, (X,), target="sm_12345", strict=True)
