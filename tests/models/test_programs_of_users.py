# SPDX-License-Identifier: Apache-2.0
"""Whole programs around compiled modules: decoding with a static cache, LoRA, sizes that data decide, threads. Graph breaks and recompilations are those
of backend="eager"."""

import copy
import threading

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


def decoder(kind, layers):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=199, n_positions=300, n_embd=32, n_layer=layers, n_head=4)
        return transformers.GPT2LMHeadModel(config).eval()
    sizes = dict(vocab_size=199, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, max_position_embeddings=300)
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


SLOW = pytest.mark.slow


@pytest.mark.parametrize("kind,steps", [("llama", 8), pytest.param("llama", 256, marks=SLOW), pytest.param("gpt2", 256, marks=SLOW)])
def test_decoding_with_a_static_cache(kind, steps):
    """The tokens of eager, from one program."""
    model = decoder(kind, layers=1 if steps == 8 else 2)
    with torch.no_grad():
        want = decode(model, model, steps)
        eager_graphs, _ = graphs_of("eager", lambda compile: decode(model, compile(model), steps))
        tuyere.clear_reports()
        graphs, got = graphs_of("tuyere", lambda compile: decode(model, compile(model), steps))
    assert got == want
    assert graphs == eager_graphs
    assert [r.num_engines for r in tuyere.reports()] == [1], [str(r) for r in tuyere.reports()]


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


UNBACKED = {
    "nonzero": lambda x: (x > 0).nonzero().float().sum(0, keepdim=True) + 1,
    "masked_select": lambda x: torch.masked_select(x, x > 0).relu() * 3,
    "index": lambda x: x[x[:, 0] > 0] @ x.t(),
    "unique": lambda x: torch.unique((x * 2).long()).float().cos(),
}


@pytest.mark.parametrize("name", UNBACKED)
def test_sizes_that_data_decide(name):
    """Also none and all."""

    class Model(torch.nn.Module):
        def forward(self, x):
            return UNBACKED[name](x)

    model = Model()
    with torch.no_grad(), torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        program = tuyere.compile(model, (torch.randn(4, 6),))
        call = torch.compile(model, backend="tuyere", fullgraph=True)
        for x in (torch.randn(4, 6), torch.ones(4, 6), -torch.ones(4, 6)):
            for got in (program(x), call(x)):
                torch.testing.assert_close(got, model(x))


@pytest.mark.slow
def test_sizes_of_zero_and_one():
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.LayerNorm(8), torch.nn.GELU()).eval()
    with torch.no_grad():
        call = torch.compile(model, backend="tuyere", dynamic=True)
        program = tuyere.compile(model, (torch.randn(3, 6),), dynamic_shapes=({0: torch.export.Dim("n", min=0, max=64)},))
        for n in (3, 1, 0, 5):
            x = torch.randn(n, 6)
            for got in (call(x), program(x)):
                torch.testing.assert_close(got, model(x), rtol=1e-4, atol=1e-5)


def test_eight_threads_compile_and_run():
    """Four different models, each twice."""
    made = [torch.nn.Sequential(torch.nn.Linear(8, 8 + k), torch.nn.GELU(), torch.nn.Linear(8 + k, 3)).eval() for k in range(4)]
    models = [copy.deepcopy(made[k % 4]) for k in range(8)]
    failures, barrier = [], threading.Barrier(8)

    def work(model, compile):
        try:
            barrier.wait()
            call = compile(model)
            with torch.no_grad():
                for _ in range(20):
                    x = torch.randn(4, 8)
                    torch.testing.assert_close(call(x), model(x), rtol=1e-4, atol=1e-5)
        except BaseException as error:  # noqa: BLE001  handed to the main thread
            failures.append(error)

    ways = [lambda model: torch.compile(model, backend="tuyere"), lambda model: tuyere.compile(model, (torch.randn(4, 8),))]
    threads = [threading.Thread(target=work, args=(model, ways[k // 6])) for k, model in enumerate(models)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
