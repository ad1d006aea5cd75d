# SPDX-License-Identifier: Apache-2.0
"""Random programs of tensors: make(seed) writes one as source text, check(program) compares it compiled with eager.

A program is a function of a few tensors and a module with a parameter and a buffer. Lines are drawn from TEMPLATES and tried out while the program is
written: those that PyTorch refuses, or that leave the range where errors can be compared, are dropped. `python programs.py SEED` prints one and runs it.
check_gradients(program) compares what autograd computes of it; `--gradients` does so for many.
"""

import dataclasses
import random
import re
import sys
from typing import Dict, List

import torch

# {f} a float tensor, {t} any tensor, {i} an int64 tensor, {b} a bool tensor, {n} a small int, {d} a dim, {s} a number, {w} the module
VALUES = [
    "torch.tanh({f})", "{f}.sigmoid()", "torch.nn.functional.gelu({f})", "{f}.abs().add(0.5).sqrt()", "{f}.exp().clamp(max=4)", "-{f}", "{f}.relu()", "{f}.sin() * {f}",
    "{f} + {f}", "{f} - {s} * {f}", "{f} * {f}", "{f} / ({f}.abs() + 1)", "torch.maximum({f}, {f})", "torch.where({b}, {f}, {f})", "{f} > {s}", "{f} <= {f}", "{b} & ~{b}",
    "{i} + {n}", "{i} // 3 - {i} % 5", "{f}.double().mul({s}).float()", "{i}.float() / 4", "{b}.to(torch.float32)", "({f} * 3).round().to(torch.int64)", "{f}.half().float()",
    "{f}.sum({d})", "{f}.mean({d}, keepdim=True)", "{f}.amax({d})", "{f}.var({d}, correction=0)", "{i}.sum()", "{b}.any({d})", "{f}.cumsum({d})", "{f}.softmax({d})",
    "{f}.norm(dim={d})", "{f}.std()", "{f}.sort({d})[0]", "{f}.topk(2, {d})[0]", "{f}.logsumexp({d})", "torch.nn.functional.layer_norm({f}, {f}.shape[-1:])",
    "{f} @ {f}", "{f} @ {f}.mT", "torch.nn.functional.linear({f}, {w}.weight)", "torch.nn.functional.linear({f}, {w}.weight, {w}.buffer)", "{f} + {w}.buffer",
    "torch.einsum('...i,...j->...ij', {f}, {f})", "torch.nn.functional.conv2d({f}, {f}[:2, :, :3, :3], padding=1)", "torch.nn.functional.max_pool2d({f}, 2)",
    "torch.nn.functional.avg_pool2d({f}, 3, 1, 1)", "torch.nn.functional.interpolate({f}, scale_factor=2)", "{f}.contiguous(memory_format=torch.channels_last)",
    "torch.cat([{f}, {f}], {d})", "torch.stack([{f}, {f}], {d})", "torch.nn.functional.pad({f}, (1, {n}))", "{f}.flip({d})", "{f}.roll({n}, {d})", "{f}.repeat_interleave(2, {d})",
    "{f}.tril()", "{t}.clone()", "{t}.contiguous()", "{f}.masked_fill({b}, {s})", "{f}.index_select({d}, {i}.reshape(-1).abs() % {f}.shape[{d}])",
    "{f}.gather({d}, ({i}.abs() % {f}.shape[{d}]).expand_as({f}))", "torch.nn.functional.embedding({i}.abs() % 4, {w}.weight)", "{f}[{n}:]", "{f}.new_zeros({f}.shape) + {s}",
    "torch.arange({f}.shape[-1]) * 0.1 + {f}", "{f}.argmax({d})", "torch.zeros_like({f}).scatter({d}, ({i}.abs() % {f}.shape[{d}]).expand_as({f}), {f})",
    "torch.nn.functional.dropout({f}, 0.5, training=True)", "torch.nn.functional.glu({f}, {d})", "torch.full((2, 0), {s})", "{t}[:0]", "{f}.detach() * 2",
]  # fmt: skip
VIEWS = [
    "{t}.view(-1)", "{t}.reshape(-1, 2)", "{t}.mT", "{t}.transpose(0, {d})", "{t}.permute(*reversed(range({t}.dim())))", "{t}.unsqueeze({d})", "{t}.squeeze()",
    "{t}.expand(3, *{t}.shape)", "{t}[..., ::2]", "{t}[1:]", "{t}.select({d}, 0)", "{t}.narrow({d}, 0, 1)", "{t}.chunk(2, {d})[0]", "{t}.unbind({d})[-1]", "{t}.flatten(1)",
    "{t}.unfold({d}, 2, 1)", "{t}.diagonal()", "{t}.movedim(0, -1)", "{t}.split(1, {d})[0]",
]  # fmt: skip
IN_PLACE = [
    "{f}.add_({s})", "{f}.mul_({f})", "{f}.relu_()", "{f}.copy_({f})", "{f}.zero_()", "{f}[0] = {s}", "{f}[..., 1:] += {s}", "{f}.clamp_(-1, 1)", "{i}.add_(1)",
    "{f}.masked_fill_({b}, {s})", "{f}[{b}] = {s}", "{f}.index_fill_({d}, torch.tensor([0]), {s})", "{f}.tanh_()", "{f}.sub_({f}.mean())", "{w}.buffer.mul_(0.5).add_({s})",
    "{f}.view(-1)[0].add_(1)", "{f}.transpose(0, -1).mul_({s})", "{t}.fill_({n})", "{f}.lerp_({f}, 0.3)",
]  # fmt: skip
SHAPES = [(4, 6), (6,), (2, 3, 6), (2, 4, 5, 6), (4, 1), (), (1, 6), (0, 6), (3, 4, 6), (1, 1, 1, 6), (2, 6, 4, 4)]


class Weights(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(torch.rand(6, 6, generator=generator) - 0.5)
        self.register_buffer("buffer", torch.rand(6, generator=generator))


@dataclasses.dataclass
class Program:
    seed: int
    inputs: Dict[str, str]  # name -> how it is made
    lines: List[str]
    result: str

    @property
    def source(self):
        body = [*self.lines, f"return {self.result}"]
        return f"def program(w, {', '.join(self.inputs)}):\n" + "".join(f"    {line}\n" for line in body)

    def function(self):
        scope = {"torch": torch}
        exec(compile(self.source, f"<fuzz {self.seed}>", "exec"), scope)
        return scope["program"]

    def arguments(self):
        torch.manual_seed(self.seed)
        return [Weights(self.seed), *(eval(text, {"torch": torch}) for text in self.inputs.values())]


def _input(rng):
    shape = rng.choice(SHAPES)
    kind = rng.random()
    if kind < 0.12:
        return f"torch.randint(0, 9, {shape})"
    if kind < 0.2:
        return f"torch.rand({shape}) < 0.5"
    text = f"torch.rand({shape}) * 2 - 1"
    if len(shape) == 4 and rng.random() < 0.5:
        return f"({text}).contiguous(memory_format=torch.channels_last)"
    if len(shape) >= 2 and rng.random() < 0.2:
        return f"({text}).mT"
    return f"(torch.rand({(*shape, 2)}) * 2 - 1)[..., 0]" if rng.random() < 0.15 else text


class _Writer:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.program = Program(seed, {f"x{k}": _input(self.rng) for k in range(self.rng.randint(2, 4))}, [], "")
        module, *tensors = self.program.arguments()
        self.scope = {"torch": torch, "w": module, **dict(zip(self.program.inputs, tensors, strict=True))}
        self.names = list(self.program.inputs)

    def pick(self, kind):
        tests = {"f": lambda t: t.dtype == torch.float32, "i": lambda t: t.dtype == torch.int64, "b": lambda t: t.dtype == torch.bool, "t": lambda t: True}
        fitting = [n for n in self.names if tests[kind](self.scope[n])]
        return self.rng.choice(fitting[-4:] if fitting and self.rng.random() < 0.7 else fitting) if fitting else None

    def fill(self, template):
        def value(match):
            key = match.group(1)
            if key in "fibt":
                return self.pick(key) or "missing"
            return {"n": str(self.rng.randint(0, 3)), "d": str(self.rng.choice([0, -1, 1])), "s": f"{self.rng.uniform(-2, 2):.2f}", "w": "w"}[key]

        return re.sub(r"\{(\w)\}", value, template)

    def try_line(self):
        kind = self.rng.random()
        line = self.fill(self.rng.choice(VALUES if kind < 0.55 else VIEWS if kind < 0.8 else IN_PLACE))
        name = f"v{len(self.program.lines)}" if kind < 0.8 else None
        line = f"{name} = {line}" if name else line
        with torch.no_grad():
            exec(line, self.scope)
        if name and not self.good(self.scope[name]):
            return
        if not all(self.good(self.scope[n]) for n in self.names):
            raise OverflowError
        self.program.lines.append(line)
        if name:
            self.names.append(name)

    @staticmethod
    def good(t):
        return t.numel() < 3000 and t.dim() < 6 and (not t.is_floating_point() or bool((t.abs() < 100).all()))

    def write(self, length):
        while len(self.program.lines) < length:
            before = {n: (self.scope[n].clone() if isinstance(self.scope[n], torch.Tensor) else self.scope[n]) for n in ("w", *self.names)}
            try:
                self.try_line()
            except OverflowError:  # an in-place line went out of range: the program ends before it
                self.scope.update(before)
                break
            except (RuntimeError, NameError, IndexError, ValueError, TypeError):
                continue
        made = self.rng.sample(self.names, min(len(self.names), self.rng.randint(1, 4)))
        made = [*made, self.names[-1]]
        self.program.result = (
            self.rng.choice(["({},)", "[{}]"]).format(", ".join(made)) if self.rng.random() < 0.7 else "{" + ", ".join(f"'{n}': {n}" for n in made) + "}"
        )
        return self.program


def make(seed: int) -> Program:
    writer = _Writer(seed)
    return writer.write(writer.rng.randint(3, 14))


def _leaves(out):
    return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]


def _dense(t):
    """Covers its memory without gaps and without overlap."""
    order = sorted(range(t.dim()), key=lambda d: (t.shape[d] == 1, -t.stride(d)))
    expected = 1
    for d in reversed(order):
        if t.shape[d] != 1:
            if t.stride(d) != expected:
                return False
            expected *= t.shape[d]
    return True


def _same_strides(got, want):
    return not want.numel() or not _dense(want) or all(n == 1 or a == b for n, a, b in zip(want.shape, got.stride(), want.stride(), strict=True))


def _differences(program, got, want, got_arguments, want_arguments):
    tensors_got = [*_leaves(got), *_state(got_arguments)]
    tensors_want = [*_leaves(want), *_state(want_arguments)]
    if len(tensors_got) != len(tensors_want) or torch.utils._pytree.tree_structure(got) != torch.utils._pytree.tree_structure(want):
        yield "the structure of the results differs"
        return
    for k, (g, w) in enumerate(zip(tensors_got, tensors_want, strict=True)):
        what = f"result {k}" if k < len(_leaves(want)) else f"state {k - len(_leaves(want))}"
        if g.shape != w.shape or g.dtype != w.dtype:
            yield f"{what}: {tuple(g.shape)} {g.dtype}, expected {tuple(w.shape)} {w.dtype}"
        elif not torch.allclose(g.double(), w.double(), rtol=1e-4, atol=2e-5):
            yield f"{what}: values differ by {float((g.double() - w.double()).abs().max()):.2e}"
        elif not _same_strides(g, w):
            yield f"{what}: strides {g.stride()}, expected {w.stride()}"
    inputs_got, inputs_want = got_arguments[1:], want_arguments[1:]
    for k, (g, w) in enumerate(zip(_leaves(got), _leaves(want), strict=True)):
        shared_got = [i for i, t in enumerate(inputs_got) if t.numel() and t.untyped_storage().data_ptr() == g.untyped_storage().data_ptr()]
        shared_want = [i for i, t in enumerate(inputs_want) if t.numel() and t.untyped_storage().data_ptr() == w.untyped_storage().data_ptr()]
        if shared_got != shared_want:
            yield f"result {k}: shares memory with inputs {shared_got}, expected {shared_want}"


def _state(arguments):
    return [arguments[0].buffer, *arguments[1:]]


def _refused(program):
    """PyTorch's own compiler cannot take the program either: an in-place write to memory that several elements share, say."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    try:
        torch.compile(program.function(), backend="aot_eager")(*program.arguments())
    except Exception:
        return True
    return False


def check(program: Program, **options) -> List[str]:
    """What is wrong with the compiled program, in words; an empty list when all is well. Two calls, so that mutated state is read again."""
    torch._dynamo.reset()
    function = program.function()
    if "dropout" in program.source:  # AOTAutograd does not draw random numbers that nobody reads
        if _refused(program):
            return []
        function = torch.compile(function, backend="aot_eager")
    compiled = torch.compile(program.function(), backend="tuyere", options={"optimization_level": 0, **options})
    wanted, ours = program.arguments(), program.arguments()
    problems = []
    with torch.no_grad():
        for call in range(2):
            torch.manual_seed(call)
            want = function(*wanted)
            torch.manual_seed(call)
            try:
                got = compiled(*ours)
            except Exception as error:
                return [] if _refused(program) else [f"call {call}: {type(error).__name__}: {str(error)[:500]}"]
            problems += [f"call {call}: {text}" for text in _differences(program, got, want, ours, wanted)]
            if problems:
                break
    return problems


def _gradients(program, backend):
    """Results and gradients of a smooth loss of them; None when nothing depends on an input."""
    torch._dynamo.reset()
    function = program.function()
    module, *inputs = program.arguments()
    inputs = [t.clone().requires_grad_() if t.dtype == torch.float32 else t for t in inputs]

    def run(w, *inputs):
        results = function(w, *(t * 1.0 if t.dtype == torch.float32 else t for t in inputs))  # so that the program may write them
        return [t for t in _leaves(results) if t.dtype == torch.float32 and t.requires_grad]

    torch.manual_seed(0)
    options = {"optimization_level": 0} if backend == "tuyere" else None
    results = (run if backend is None else torch.compile(run, backend=backend, options=options))(module, *inputs)
    if not results:
        return None
    differentiable = [*module.parameters(), *(t for t in inputs if t.requires_grad)]
    found = torch.autograd.grad(sum(t.sin().sum() for t in results), differentiable, allow_unused=True)
    return [*(t.detach() for t in results), *(torch.zeros_like(t) if g is None else g for t, g in zip(differentiable, found, strict=True))]


def check_gradients(program: Program) -> List[str]:
    """What is wrong with the gradients of the compiled program; programs that PyTorch cannot differentiate or compile count as right."""
    reference = "aot_eager" if "dropout" in program.source else None  # the random numbers of compiled programs are not eager's
    try:
        want = _gradients(program, reference)
    except RuntimeError:
        return []
    if want is None:
        return []
    try:
        got = _gradients(program, "tuyere")
    except Exception as error:
        try:
            _gradients(program, "aot_eager")
        except Exception:
            return []
        return [f"{type(error).__name__}: {str(error)[:500]}"]
    pairs = list(zip(got, want, strict=True))
    return [f"gradient {k} differs by {float((g - w).abs().max()):.2e}" for k, (g, w) in enumerate(pairs) if not torch.allclose(g, w, rtol=1e-3, atol=1e-4)]


def main():
    import warnings

    warnings.simplefilter("ignore")
    judge = check_gradients if "--gradients" in sys.argv else check
    first, last = (int(a) for a in ([a for a in sys.argv[1:] if a != "--gradients"] * 2)[:2])
    torch.set_num_threads(1)
    bad = 0
    for seed in range(first, last + 1):
        program = make(seed)
        problems = judge(program)
        bad += bool(problems)
        if problems or first == last:
            print(f"== seed {seed}\n" + "".join(f"# {n} = {text}\n" for n, text in program.inputs.items()) + program.source + "\n".join(problems), flush=True)
    print(f"{last - first + 1} programs, {bad} wrong")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
