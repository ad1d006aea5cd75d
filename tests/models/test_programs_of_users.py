# SPDX-License-Identifier: Apache-2.0
"""Whole programs around compiled modules: decoding with a static cache, LoRA. Graph breaks and recompilations are those of backend="eager"."""

import pytest
import torch
import tuyere
from torch._dynamo.testing import CompileCounterWithBackend

pytestmark = pytest.mark.filterwarnings("ignore::tuyere.FallbackWarning")


def graphs_of(backend, run):
    """How many graphs Dynamo hands to a back end while run(compile) calls what it compiles."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    result = run(lambda fn: torch.compile(fn, backend=counter))
    torch._dynamo.reset()
    return counter.frame_count, result


def decoder(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=199, n_positions=300, n_embd=32, n_layer=2, n_head=4)
        return transformers.GPT2LMHeadModel(config).eval()
    sizes = dict(vocab_size=199, hidden_size=32, intermediate_size=64, num_hidden_layers=2, max_position_embeddings=300)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)).eval()


def decode(model, call, steps):
    """Greedy decoding of `steps` tokens after a prompt that runs uncompiled."""
    from transformers import StaticCache

    prompt = torch.arange(1, 9)[None]
    cache = StaticCache(config=model.config, max_cache_len=8 + steps)
    token = model(prompt, past_key_values=cache, position_ids=torch.arange(8)[None]).logits[:, -1:].argmax(-1)
    tokens = []
    for step in range(steps):
        token = call(token, past_key_values=cache, position_ids=torch.tensor([[8 + step]])).logits[:, -1:].argmax(-1)
        tokens.append(int(token))
    return tokens


@pytest.mark.slow
@pytest.mark.parametrize("steps", [12, 256])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_decoding_with_a_static_cache(kind, steps):
    model = decoder(kind)
    with torch.no_grad():
        want = decode(model, model, steps)
        eager_graphs, _ = graphs_of("eager", lambda compile: decode(model, compile(model), steps))
        tuyere.clear_reports()
        graphs, got = graphs_of("tuyere", lambda compile: decode(model, compile(model), steps))
    assert got == want
    assert graphs == eager_graphs
    assert {r.num_engines for r in tuyere.reports()} == {1}, [str(r) for r in tuyere.reports()]


class Lora(torch.nn.Module):
    """A linear layer with adapters, merged as PEFT does."""

    def __init__(self):
        super().__init__()
        self.base = torch.nn.Linear(16, 16)
        self.down, self.up = (torch.nn.ParameterList(torch.nn.Parameter(torch.randn(s)) for _ in range(2)) for s in ((4, 16), (16, 4)))
        self.merged = None

    def update(self, k):
        return 0.1 * self.up[k] @ self.down[k]

    def merge(self, k):
        if self.merged is not None:
            self.base.weight.data -= self.update(self.merged)
        self.merged = k
        self.base.weight.data += self.update(k)

    def forward(self, x):
        return self.base(x).relu()


def test_lora_merge_and_swap():
    model, x = Lora().eval(), torch.randn(3, 16)
    with torch.no_grad():
        program, call = tuyere.compile(model, (x,), strict=True), torch.compile(model, backend="tuyere")
        call(x)
        tuyere.clear_reports()
        for k in (0, 1, 0):
            model.merge(k)
            for got in (program(x), call(x)):
                torch.testing.assert_close(got, model(x), rtol=1e-4, atol=1e-5)
    assert not tuyere.reports()  # nothing was built again


def branches(x):
    y = x * 2
    torch._dynamo.graph_break()
    return y.relu() if y.shape[0] > 2 else y.tanh()


@pytest.mark.parametrize("grad", [False, True])
def test_breaks_and_recompilations_are_those_of_eager(grad):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())

    def run(compile):
        fn, module = compile(branches), compile(model)
        return [f(torch.randn(n, 4)) for n in (3, 1, 5, 0, 7, 2) for f in (fn, module)]

    with torch.set_grad_enabled(grad):
        assert graphs_of("tuyere", run)[0] == graphs_of("eager", run)[0]
