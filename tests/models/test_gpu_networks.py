# SPDX-License-Identifier: Apache-2.0
"""What the passes make of a network for a GPU that is not there, evaluated on the CPU: layouts, merged and rearranged layers mean what the model meant."""

import copy
import re

import pytest
import safetensors
import tuyere
from harness import error_of, torch
from torch import nn

CONSTANT = re.compile(r'(\S+|"[^"]*") = (param|literal) (\w+\[[^]]*\])(?:@(\d+))? "([^"]*)"')
INPUT = re.compile(r'(\S+|"[^"]*") = input ')


def constant(file, kind, order, name):
    """As it stands in an engine file: made at build in the order of memory, or the module's."""
    if kind == "param":
        return file.get_tensor(f"param/{name}")
    stored = file.get_tensor(f"const/{name}")
    return stored.permute([order.index(str(d)) for d in range(stored.dim())]) if order else stored


def evaluate(engine, path, inputs):
    """The first result of an engine's network, on the CPU; constants become inputs."""
    engine.save(path)
    lines, values, given = [], [], iter(inputs)
    with safetensors.safe_open(path, "pt") as file:
        for line in engine.meta["network"].splitlines():
            if found := CONSTANT.match(line):
                line = f"{found[1]} = input {found[3]}"
                values.append(constant(file, found[2], found[4], found[5]).contiguous())
            elif INPUT.match(line):
                values.append(next(given))
            lines.append(line)
    config = tuyere.BuilderConfig()
    config.target, config.optimization_level = "cpu", 1
    return tuyere.Builder(config).build(tuyere.Network.parse("\n".join(lines) + "\n"))(*values)[0]


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.down, self.up, self.project = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1), nn.Conv2d(32, 16, 1, bias=False)

    def forward(self, x):
        x = nn.functional.silu(self.norm(self.deep(x)))
        return self.project(x * self.up(nn.functional.silu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid())


class Rotary(nn.Module):
    """Attention whose queries and keys are turned by the same angles; keys are shared."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (
            nn.Linear(64, 64, bias=False),
            nn.Linear(64, 32, bias=False),
            nn.Linear(64, 32, bias=False),
            nn.Linear(64, 64, bias=False),
        )

    def forward(self, x):
        def heads(y):
            return y.unflatten(-1, (-1, 16)).transpose(1, 2)

        angles = torch.arange(x.shape[1], device=x.device)[:, None] / 10.0 ** torch.arange(8, device=x.device)
        cos, sin = (torch.cat([f, f], -1).to(x.dtype) for f in (angles.cos(), angles.sin()))
        q, k = (y * cos + torch.cat([-y[..., 8:], y[..., :8]], -1) * sin for y in (heads(self.q(x)), heads(self.k(x))))
        y = nn.functional.scaled_dot_product_attention(q, k, heads(self.v(x)), is_causal=True, enable_gqa=True)
        return self.out(y.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(64, 160), nn.Linear(64, 160), nn.Linear(160, 64)

    def forward(self, x):
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class PackedGate(nn.Module):
    """One product, whose columns gate each other: both halves, or every other one; weights by output or by input."""

    def __init__(self, parts, by_input=False):
        super().__init__()
        self.parts, self.by_input, self.both, self.down = parts, by_input, nn.Linear(64, 320), nn.Linear(160, 64)
        if by_input:
            self.both.weight = nn.Parameter(self.both.weight.detach().t().contiguous())

    def forward(self, x):
        y = x @ self.both.weight + self.both.bias if self.by_input else self.both(x)
        a, b = self.parts(y)
        return self.down(a * nn.functional.gelu(b))


PACKED = {
    "halves": (lambda y: y.chunk(2, -1), False),
    "halves of columns": (lambda y: y.chunk(2, -1), True),
    "rows of a matrix": (lambda y: y.unflatten(-1, (2, -1)).unbind(-2), False),
    "pairs": (lambda y: (y[..., ::2], y[..., 1::2]), False),
    "pairs of a matrix": (lambda y: y.unflatten(-1, (-1, 2)).unbind(-1), False),
    "pairs of columns": (lambda y: (y[..., ::2], y[..., 1::2]), True),
}


class Mixer(nn.Module):
    """ConvMixer: activations before batch norms, behind depthwise convolutions and those of single pixels."""

    def __init__(self, activation):
        super().__init__()
        self.activation, self.first = activation, nn.Conv2d(3, 64, 3, padding=1)
        self.deep, self.wide = nn.Conv2d(64, 64, 5, padding=2, groups=64), nn.Conv2d(64, 64, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(64) for _ in range(3))
        for norm in self.norms:
            nn.init.normal_(norm.weight, 1, 0.5)
            nn.init.normal_(norm.running_mean)

    def forward(self, x):
        x = self.norms[0](self.activation(self.first(x)))
        x = x + self.norms[1](self.activation(self.deep(x)))
        x = x + self.norms[2](self.activation(self.wide(x)))
        return self.deep(self.norms[2](self.activation(self.wide(x))))


class SplitAttention(nn.Module):
    """ResNeSt and selective kernels: weighted sums of the halves of an image, and of two images."""

    def __init__(self):
        super().__init__()
        self.pair, self.weigh, self.other, self.out = (
            nn.Conv2d(32, 64, 3, padding=1, groups=2),
            nn.Conv2d(32, 64, 1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 32, 1),
        )

    def forward(self, x):
        y = nn.functional.relu(self.pair(x)).unflatten(1, (2, 32))
        a = self.weigh(y.sum(1).mean((2, 3), keepdim=True)).unflatten(1, (2, 32)).softmax(1)
        x = torch.stack([self.out((y * a).sum(1)), self.other(x)], 1)
        return self.out((x * a).sum(1))


class Windows(nn.Module):
    """Swin V2: cosine attention with a temperature and a bias of each head, and a mask of each window of an image."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.temperature, self.bias = nn.Parameter(torch.randn(2, 1, 1)), nn.Parameter(torch.randn(2, 16, 16))
        self.register_buffer("mask", torch.where(torch.rand(4, 16, 16) < 0.3, -100.0, 0.0))

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(-1, 16, 3, 2, 16).permute(2, 0, 3, 1, 4).unbind(0)
        scores = nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores * self.temperature.clamp(max=4).exp() + self.bias.unsqueeze(0)
        scores = (scores.view(-1, 4, 2, 16, 16) + self.mask.unsqueeze(1).unsqueeze(0)).view(-1, 2, 16, 16)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class UNet(nn.Module):
    """Images that get smaller and larger again, joined with what they were; windows of the way up side by side, and overlapping."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(8, 32, 3, padding=1), nn.Conv2d(32, 48, 3, padding=1), nn.Conv2d(48, 64, 3, padding=1)
        self.up, self.over = nn.ConvTranspose2d(64, 48, 2, 2), nn.ConvTranspose2d(32, 32, 4, 2, 1)
        self.joined, self.norm, self.out = nn.Conv2d(96, 32, 3, padding=1), nn.BatchNorm2d(32), nn.Conv2d(64, 16, 1)
        nn.init.normal_(self.norm.weight, 1, 0.5)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x):
        relu, pool = nn.functional.relu, nn.functional.max_pool2d
        first = relu(self.first(x))
        second = relu(self.second(pool(first, 2)))
        y = self.up(relu(self.third(pool(second, 2))))
        y = relu(self.norm(self.over(relu(self.joined(torch.cat([second, y], 1))))))
        return self.out(torch.cat([first, y], 1))


class Bottlenecks(nn.Module):
    """Detectors of one stage (YOLO): one half of an image goes through bottlenecks, and all that they made is joined with both halves."""

    def __init__(self):
        super().__init__()
        self.split, self.join = nn.Conv2d(16, 64, 1), nn.Conv2d(128, 48, 1)
        self.parts = nn.ModuleList(nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(2)) for _ in range(2))

    def forward(self, x):
        silu = nn.functional.silu
        made = list(silu(self.split(x)).chunk(2, 1))
        for first, second in self.parts:
            made.append(made[-1] + silu(second(silu(first(made[-1])))))
        return silu(self.join(torch.cat(made, 1)))


class Residuals(nn.Module):
    """Norms between products: of every kind, before one product and before two, with and without weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.LayerNorm(128), nn.RMSNorm(128), nn.LayerNorm(128, elementwise_affine=False)
        self.start, self.wide, self.narrow, self.out = nn.Linear(64, 128), nn.Linear(128, 256), nn.Linear(256, 128), nn.Linear(128, 96, bias=False)
        self.gate, self.up, self.down = nn.Linear(128, 192, bias=False), nn.Linear(128, 192, bias=False), nn.Linear(192, 128, bias=False)
        for norm in (self.first, self.second):
            nn.init.normal_(norm.weight, 1, 2)
        nn.init.normal_(self.first.bias)
        nn.init.constant_(self.start.bias, 1.5)  # a mean as large as the deviation

    def forward(self, x):
        x = self.start(x)
        x = x + self.narrow(nn.functional.gelu(self.wide(self.first(x))))
        y = self.second(x)
        x = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        return self.out(self.third(x))


def stem(kernel, stride, padding, bias):
    return nn.Sequential(nn.Conv2d(3, 32, kernel, stride, padding, bias=bias), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1))


IMAGE = (2, 3, 48, 64)
MODELS = {
    "stem of ResNet": (lambda: stem(7, 2, 3, False), IMAGE),
    "stem of EfficientNet": (lambda: stem(3, 2, 1, True), IMAGE),
    "patches": (lambda: stem(16, 16, 0, True), IMAGE),
    "patches that leave a border": (lambda: stem(4, 4, 0, False), (2, 3, 50, 67)),
    "odd image": (lambda: stem(5, 3, 2, True), (2, 3, 47, 49)),
    "squeeze and excite": (SqueezeExcite, (2, 32, 24, 24)),
    "rotary": (Rotary, (2, 12, 64)),
    "gated unit": (Gated, (2, 200, 64)),
    **{f"packed gate, {name}": (lambda parts=parts: PackedGate(*parts), (2, 200, 64)) for name, parts in PACKED.items()},
    "windows": (Windows, (12, 16, 32)),
    "split attention": (SplitAttention, (2, 32, 16, 16)),
    "mixed by GELU": (lambda: Mixer(nn.functional.gelu), (2, 3, 16, 16)),
    "mixed by ReLU": (lambda: Mixer(nn.functional.relu), (2, 3, 16, 16)),
    "up and down": (UNet, (2, 8, 24, 32)),
    "split, joined": (Bottlenecks, (2, 16, 12, 20)),
    "norms": (Residuals, (3, 100, 64)),
    "odd vocabulary": (lambda: nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 1001, bias=False)), (2, 128, 512)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
def test_a_network_for_a_gpu_means_the_model(name, target, tmp_path):
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(shape)
    want = copy.deepcopy(model).double()(x.double())
    model, x = model.half(), x.half()
    with torch.no_grad():
        eager = model(x)
        program = tuyere.compile(model, (x,), target=target, optimization_level=0, strict=True)
    got = evaluate(program.engines[0], str(tmp_path / "model.engine"), [x])
    assert error_of(got, want) <= max(1.5 * error_of(eager, want), 4 * 2.0**-10)


@pytest.mark.parametrize("parts", PACKED.values(), ids=PACKED)
def test_both_parts_of_a_packed_gate_are_one_product(parts):
    model, x = PackedGate(*parts).eval().half(), torch.randn(2, 200, 64).half()
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=0, strict=True).engines[0]
    assert [step["tactic"].split(".")[1] for step in engine.steps] == ["gated_matmul", "matmul"]


def test_halves_that_are_joined_again_are_not_copied():
    model, x = Bottlenecks().eval().half(), torch.randn(2, 16, 12, 20).half()
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=0, strict=True).engines[0]
    problems = [step["problem"] for step in engine.steps]
    assert [problem.split()[0] for problem in problems].count("conv") == len(problems) - 2  # the caller's images are turned around
    assert sum("epilogue={add(" in problem and "silu" in problem for problem in problems) == 2  # each residual is added where its convolution ends


def test_activations_before_norms_are_parts_of_products():
    model, x = Mixer(nn.functional.gelu).eval().half(), torch.randn(2, 3, 16, 16).half()
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=0, strict=True).engines[0]
    assert sum(step["problem"].startswith("pointwise program={add(mul(") for step in engine.steps) == 1  # behind the first convolution


def test_halves_of_images_are_added_where_they_lie():
    model, x = SplitAttention().eval().half(), torch.randn(2, 32, 16, 16).half()
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=0, strict=True).engines[0]
    families = [step["tactic"].split(".")[1] for step in engine.steps]
    assert families.count("reduce") == 1 and families.count("concat") == 0
    assert families.count("pointwise") == 4  # both sums, and the caller's images turned around


def test_masks_of_windows_are_part_of_attention():
    model, x = Windows().eval().half(), torch.randn(12, 16, 32).half()
    with torch.no_grad():
        engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=0, strict=True).engines[0]
    (attention,) = [step["problem"] for step in engine.steps if ".attention." in step["tactic"]]
    assert "const f16[4,2,16,16]" in attention  # not one of all twelve windows
    assert not any(".softmax." in step["tactic"] for step in engine.steps)


@pytest.mark.parametrize("level", [1, 3])
def test_group_norms_of_channels_last_images_are_planned(level):
    model, x = nn.Sequential(nn.Conv2d(3, 64, 3), nn.GroupNorm(8, 64)).eval().half(), torch.randn(8, 3, 64, 64).half()
    engine = tuyere.compile(model, (x,), target="sm_90a", optimization_level=level, strict=True).engines[0]
    assert any(step["tactic"].startswith("own.norm") for step in engine.steps)
