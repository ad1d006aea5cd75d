# SPDX-License-Identifier: Apache-2.0
"""tuyere.explain(): says what compiling would do, and builds nothing."""

import pytest
import torch
import tuyere


@torch.library.custom_op("tuyere_explain_test::odd", mutates_args=())
def odd(x: torch.Tensor) -> torch.Tensor:
    return x.flip(0)


@odd.register_fake
def _(x):
    return torch.empty_like(x)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.second(torch.ops.tuyere_explain_test.odd(torch.relu(self.first(x))))


class Hosted(Net):
    def forward(self, x):
        u, s, v = torch.linalg.svd(torch.relu(self.first(x)), full_matrices=False)
        return self.second((u * s) @ v)


class Breaks(Net):
    def forward(self, x):
        y = torch.relu(self.first(x))
        if y.sum() > 0:
            y = y + 1
        return self.second(y)


@pytest.fixture(autouse=True)
def builds_nothing(monkeypatch):
    def refuse(*args):
        raise AssertionError("explain() must not build")

    monkeypatch.setattr("tuyere.lower.build_engine", refuse)
    tuyere.clear_reports()
    yield
    assert not tuyere.reports()


def test_one_engine():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    out = tuyere.explain(model, torch.randn(3, 4))
    assert out.one_engine and out.coverage == 1 and out.num_nodes == out.num_native == 3 and not out.fallbacks and not out.blockers
    assert out.segments[0].num_inputs == out.segments[0].num_outputs == 1 and sum(out.segments[0].ops.values()) == 3
    assert "Sequential: 1 engine for cpu; 3 of 3 nodes native" in str(out) and "the whole model is one engine" in str(out)


@pytest.mark.parametrize("front", ["export", "script"])
def test_what_is_in_the_way(front):
    model, x = Net().eval(), torch.randn(5, 6)
    out = tuyere.explain(model if front == "export" else torch.jit.script(model), x, strict=True)
    assert not out.one_engine and out.num_engines == 2
    assert [f[0] for f in out.fallbacks] == [b.op for b in out.blockers] == ["tuyere_explain_test::odd"]
    assert (out.blockers[0].count, out.blockers[0].engines, out.engines_together) == (1, 1, 1)
    assert "no converter for tuyere_explain_test::odd" in str(out) and "with tuyere_explain_test::odd (1x, top level) native: 1 engine" in str(out)


def test_hosted_ops_are_named():
    out = tuyere.explain(Hosted().eval(), torch.randn(5, 6))
    assert (out.num_engines, out.num_hosted, out.segments[0].num_hosted, out.one_engine) == (1, 1, 1, False)
    assert "1 hosted" in str(out) and [f[0] for f in out.fallbacks] == ["aten::_linalg_svd"]


def test_options_count():
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4)).eval(), torch.randn(2, 4)
    out = tuyere.explain(model, x, run_in_torch=["aten::tanh"])
    assert out.num_engines == 2 and out.blockers[0].op == "aten::tanh" and out.blockers[0].engines == 1
    assert tuyere.explain(model, x, min_block_size=9).num_engines == 0
    with pytest.raises(tuyere.OptionError):
        tuyere.explain(model, x, precison="fp16")


def test_graph_breaks():
    out = tuyere.explain(Breaks().eval(), torch.ones(5, 6))
    assert out.num_graphs == 2 and out.num_engines == 2 and out.num_outside == 0 and not out.one_engine
    assert len(out.graph_breaks) == 1 and "torch.export fails" in out.capture and "graph break" in str(out)
    assert not torch.nn.modules.module._global_buffer_registration_hooks  # torch.export's own: Dynamo breaks graphs at it
