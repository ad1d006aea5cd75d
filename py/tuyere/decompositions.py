# SPDX-License-Identifier: Apache-2.0
"""Which ops become others before the graph is read: PyTorch's core decompositions, less the ops that the engine has something better for, and
our own for ops that PyTorch only has as kernels."""

import math
from typing import Any, Callable, Dict

import torch

from . import antialias, fused_attention

aten = torch.ops.aten

# Composite ops that reach the converter table whole: the engine has something better than their decomposition.
PRESERVED = [
    aten.linear.default,
    aten.scaled_dot_product_attention.default,
    aten.layer_norm.default,
    aten.group_norm.default,
    aten.rms_norm.default,
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv2d.padding,
    aten.matmul.default,
    aten.silu.default,
    aten.hardswish.default,
    aten.hardsigmoid.default,
    aten.gelu.default,
    aten.glu.default,
    *(getattr(aten, f"upsample_{kind}").vec for kind in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")),
    *(getattr(aten, f"upsample_{kind}").default for kind in ("nearest1d", "nearest2d", "nearest3d", "linear1d")),
    *(getattr(aten, f"{kind}_pad{n}d").default for kind in ("reflection", "replication") for n in (1, 2, 3)),
    aten.adaptive_avg_pool2d.default,
]

# Recurrent networks: the engine has them whole on the CPU.
RECURRENT = [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]

# Decompositions that PyTorch has, but not in its core set.
_MORE = [
    aten.batch_norm_backward.default,
    aten.grid_sampler_2d.default,
    aten._addmm_activation.default,
    aten.dist.default,
    aten.tril_indices.default,
    aten.triu_indices.default,
]

# A training step reads the statistics of normalizations again, which a whole op keeps to itself; layer norms give them and have a gradient.
_TRAINING = [aten.native_group_norm.default]

# Left alone: their decomposition draws other random numbers than eager does, writes in place after functionalization, or is one for inference only.
_KEPT = [aten.bernoulli.default, aten.bernoulli.p, aten.index_fill.int_Scalar, aten.index_fill.int_Tensor]
_KEPT_IN_TRAINING = [aten._scaled_dot_product_flash_attention_for_cpu.default, aten.native_layer_norm.default, aten.native_layer_norm_backward.default]

OWN: Dict[Any, Callable] = dict(antialias.FORMULAS)


def _replaces(*ops):
    def note(fn):
        OWN.update(dict.fromkeys(ops, fn))
        return fn

    return note


def for_compile(training: bool):
    """Decompositions of the torch.compile path."""
    table = dict(torch._decomp.core_aten_decompositions())
    table.update({op: torch._decomp.decomposition_table[op] for op in _MORE + (_TRAINING if training else [])})
    table = _finish(table, _KEPT + (_KEPT_IN_TRAINING if training else []))
    if not training:
        return table
    formulas = {op: torch._decomp.decomposition_table[op] for op in RECURRENT}  # which have gradients
    return {**table, **formulas, **fused_attention.TRAINING}


def for_export():
    """Decompositions of the torch.export path."""
    table = torch.export.default_decompositions()
    table.update({op: torch._decomp.decomposition_table[op] for op in _MORE})
    return _finish(table, _KEPT)


def _finish(table, kept):
    for op in PRESERVED + kept:
        table.pop(op, None)
    table.update(OWN)
    return table


def _memory_order(x):
    """The dims of x in eager's order of memory, and the permutation that turns such a tensor back."""
    from .draws import memory_order  # late: it needs _compat, which needs this module

    order = memory_order(torch.empty_like(x))
    return order, sorted(range(len(order)), key=order.__getitem__)


@_replaces(aten.native_dropout.default)
def _native_dropout(input, p, train):
    """On the CPU PyTorch's op draws the mask, in the memory order of the input, and multiplies: only to draw is left to PyTorch. On a GPU it is one kernel."""
    if train is False or input.device.type != "cpu" or not input.is_floating_point():
        return NotImplemented
    order, back = _memory_order(input)
    mask = torch.zeros([input.shape[d] for d in order], dtype=torch.bool).bernoulli(1 - p).permute(back)
    return input * mask * (0.0 if p == 1 else 1 / (1 - p)), mask


@_replaces(aten.roll.default)
def _roll(self, shifts, dims=()):
    """On the CPU eager's keeps images channels-last, unless a dimension stays as it is: PyTorch's formula for its strides does not know that."""
    if any(isinstance(size, int) and size == 0 for size in self.shape):
        return NotImplemented
    kept = torch.empty_like(self)
    steps = zip(shifts if isinstance(shifts, (tuple, list)) else [shifts], dims if isinstance(dims, (tuple, list)) else [dims])
    stays = any(isinstance(shift, int) and (shift == 0 or (isinstance(self.shape[d], int) and shift % self.shape[d] == 0)) for shift, d in steps)
    for rank, order in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if dims and self.dim() == rank and self.device.type == "cpu" and not kept.is_contiguous() and kept.is_contiguous(memory_format=order):
            rolled = self.contiguous().roll(shifts, dims)
            return rolled if stays else rolled.contiguous(memory_format=order)
    return NotImplemented


def _recurrent(op):
    def recurrent(input, hx, *rest):
        """What the engine does not have whole is unrolled: one step after the other."""
        projects = isinstance(hx, (list, tuple)) and len({s.shape[-1] for s in hx}) > 1
        whole = input.device.type == "cpu" and input.dtype in (torch.float32, torch.bfloat16) and not projects
        return NotImplemented if whole else torch._decomp.decomposition_table[op](input, hx, *rest)  # which _compat mends

    return recurrent


for _op in RECURRENT:
    OWN[_op] = _recurrent(_op)


def _batch_norm_of(op):
    formula = torch._decomp.decomposition_table[op]

    def batch_norm(input, weight, bias, *settings):
        """On the CPU x * scale + shift, as eager's: differences to the mean are rounded alike for all values of a binade, which moves the mean of all."""
        results = formula(input, weight, bias, *settings)
        mean, rstd = results[1:3]
        if input.device.type != "cpu" or input.dtype != torch.float32 or mean.shape[0] == 0:  # without new statistics
            return results
        scale = rstd if weight is None else rstd * weight
        shift = -mean * scale if bias is None else -mean * scale + bias
        channels = [-1] + [1] * (input.dim() - 2)
        return (input * scale.view(channels) + shift.view(channels), *results[1:])

    return batch_norm


for _op in (aten._native_batch_norm_legit.no_stats, aten._native_batch_norm_legit_functional.default, aten._batch_norm_with_update_functional.default):
    OWN[_op] = _batch_norm_of(_op)


@_replaces(aten._weight_norm_interface_backward.default)
def _weight_norm_backward(grad_w, saved_v, saved_g, saved_norms, dim):
    """Of w = v g / |v|, the norm being over all dims but one: (gradient of v, of g)."""
    others = [d for d in range(saved_v.dim()) if d != dim % saved_v.dim()]
    norms = saved_norms.to(saved_v.dtype)
    along = (grad_w * saved_v).sum(others, keepdim=True) / norms
    return saved_g / norms * (grad_w - saved_v * (along / norms)), along


def _shifted_sum(columns, taps, size):
    """The sum of windows of the padded columns, one per tap: ((row, first row of blocks), (column, first column of blocks)); [N, C, blocks, 1, blocks, 1]."""
    if not taps:
        return columns.new_zeros([*columns.shape[:2], size[0], 1, size[1], 1])
    parts = [columns[:, :, h, w].narrow(2, top, size[0]).narrow(4, left, size[1]) for (h, top), (w, left) in taps]
    return sum(parts[1:], parts[0])


@_replaces(aten.col2im.default)
def _col2im(self, output_size, kernel_size, dilation, padding, stride):
    """Sums of shifted columns, one formula for each place in a block of stride x stride pixels, instead of additions by index."""
    few = math.prod(kernel_size) <= 32 and math.prod(stride) <= 16
    if not few or self.dim() != 3 or not all(isinstance(n, int) for n in (*output_size, self.shape[2])):
        return torch._decomp.decomposition_table[aten.col2im.default](self, output_size, kernel_size, dilation, padding, stride)
    counts, blocks, borders, phases = [], [], [], []
    for size, kernel, dilated, pad, step in zip(output_size, kernel_size, dilation, padding, stride):
        # Pixel step * (i + shift) + place gets entry i of a tap.
        places = [divmod(dilated * k - pad, step) for k in range(kernel)]
        count, block = (size + 2 * pad - dilated * (kernel - 1) - 1) // step + 1, -(-size // step)
        before = max(0, *(shift for shift, _ in places))
        after = max(0, *(block - shift - count for shift, _ in places))
        phases.append([[(k, before - shift) for k, (shift, place) in enumerate(places) if place == wanted] for wanted in range(step)])
        counts.append(count), blocks.append(block), borders.append((before, after))
    channels = self.shape[1] // math.prod(kernel_size)
    columns = self.reshape(self.shape[0], channels, *kernel_size, *counts)
    columns = torch.nn.functional.pad(columns, (*borders[1], *borders[0])).unsqueeze(-1).unsqueeze(-3)
    rows = []
    for high in phases[0]:
        places = [_shifted_sum(columns, [(h, w) for h in high for w in wide], blocks) for wide in phases[1]]
        rows.append(torch.cat(places, 5) if len(places) > 1 else places[0])
    image = torch.cat(rows, 3) if len(rows) > 1 else rows[0]
    image = image.reshape(self.shape[0], channels, blocks[0] * stride[0], blocks[1] * stride[1])
    return image[:, :, : output_size[0], : output_size[1]].clone(memory_format=torch.contiguous_format)


@_replaces(aten.masked_scatter.default)
def _masked_scatter(self, mask, source):
    """The k-th true place takes the k-th source value."""
    from ._compat import free_unbacked_symbols

    shape = torch.broadcast_shapes(self.shape, mask.shape)
    self, mask = self.expand(shape), mask.expand(shape)
    place = (mask.reshape(-1).to(torch.int64).cumsum(0) - 1).clamp_min(0).reshape(shape)
    values = source.reshape(-1)
    if free_unbacked_symbols(values):  # none perhaps, and then no place is true
        values = torch.cat([values, values.new_zeros(1)])
    elif values.numel() == 0:
        return self.clone()
    return torch.where(mask, values[place], self)


@_replaces(aten.max_unpool2d.default)
def _max_unpool2d(self, indices, output_size):
    """PyTorch's, in the memory order of the input, as eager's."""
    out = torch._decomp.decomposition_table[aten.max_unpool2d.default](self, indices, output_size)
    channels_last = self.dim() == 4 and not self.is_contiguous() and self.is_contiguous(memory_format=torch.channels_last)
    return out.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@_replaces(aten._trilinear.default)
def _trilinear(i1, i2, i3, expand1, expand2, expand3, sumdim, unroll_dim=1):
    """The sum over `sumdim` of the product of three tensors, each without the dimensions of its expand list."""
    total = i1.dim() + len(expand1)
    letters = [[k for k in range(total) if k not in expand] for expand in (expand1, expand2, expand3)]
    middle = sorted(set(letters[0]) | set(letters[1]))
    early = [k for k in middle if k not in sumdim or k in letters[2]]
    return torch.einsum(torch.einsum(i1, letters[0], i2, letters[1], early), early, i3, letters[2], [k for k in range(total) if k not in sumdim])


@_replaces(aten._cdist_forward.default)
def _cdist_forward(x1, x2, p, compute_mode):
    gap = (x1.unsqueeze(-2) - x2.unsqueeze(-3)).abs()
    if p == 0:
        return (gap != 0).to(gap.dtype).sum(-1)
    if p == float("inf"):
        return gap.amax(-1) if x1.shape[-1] else gap.sum(-1)
    if p == 1:
        return gap.sum(-1)
    return gap.square().sum(-1).sqrt() if p == 2 else gap.pow(p).sum(-1).pow(1 / p)


@_replaces(aten.signbit.default)
def _signbit(self):
    return (self < 0) | ((self == 0) & (1 / self < 0)) if self.is_floating_point() else self < 0


@_replaces(aten.copysign.Tensor, aten.copysign.Scalar)
def _copysign(self, other):
    other = other if isinstance(other, torch.Tensor) else torch.full((), other, device=self.device)
    kind = torch.result_type(self, other)
    kind = kind if kind.is_floating_point else torch.get_default_dtype()
    size = self.to(kind).abs()
    return torch.where(torch.signbit(other.to(kind)), -size, size)


@_replaces(aten.ldexp.Tensor)
def _ldexp(self, other):
    return self * torch.pow(2.0, other)


@_replaces(aten.diagonal_scatter.default)
def _diagonal_scatter(self, src, offset=0, dim1=0, dim2=1):
    order, back = _memory_order(self)
    shape = [self.shape[d] for d in order]
    place = torch.arange(self.numel(), device=self.device).reshape(shape).permute(back).diagonal(offset, dim1, dim2)
    return self.permute(order).reshape(-1).index_put((place.reshape(-1),), src.reshape(-1)).reshape(shape).permute(back)


@_replaces(aten.as_strided_scatter.default)
def _as_strided_scatter(self, src, size, stride, storage_offset=None):
    """Gradients of convolutions' images write all memory of a dense tensor in its order."""
    from ._compat import statically_known_true as sure

    if storage_offset or self.storage_offset():
        return NotImplemented
    dense = [math.prod(size[d + 1 :]) for d in range(len(size))]
    own = [math.prod(self.shape[d + 1 :]) for d in range(self.dim())]
    pairs = [*zip(size, src.shape), *zip(stride, dense), *zip(self.stride(), own), (math.prod(size), self.numel())]
    if len(size) != src.dim() or not all(sure(a == b) for a, b in pairs):
        return NotImplemented
    return src.reshape(self.shape).clone(memory_format=torch.contiguous_format)


@_replaces(aten.median.default)
def _median(self):
    """The lower one of two; NaN if there is any."""
    flat = self.reshape(-1)
    middle = flat.sort()[0][(flat.shape[0] - 1) // 2]
    return torch.where(self.isnan().any(), float("nan"), middle).to(self.dtype) if self.is_floating_point() else middle


@_replaces(aten.nanmedian.default)
def _nanmedian(self):
    flat = self.reshape(-1)
    if not self.is_floating_point():
        return flat.median()
    count = (~flat.isnan()).sum()
    return flat.sort()[0].index_select(0, ((count - 1) // 2).clamp_min(0).reshape(1)).reshape(())


@_replaces(aten.angle.default)
def _angle(self):
    if self.is_complex():
        return NotImplemented
    kind = self.dtype if self.is_floating_point() else torch.get_default_dtype()
    flat = torch.where(self < 0, math.pi, 0.0).to(kind)
    return torch.where(self.isnan(), self, flat) if self.is_floating_point() else flat


def _identity_of(reduce, kind):
    """What changes nothing in a reduction."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if kind == torch.bool:
        return reduce == "amin"
    if kind.is_floating_point:
        return float("-inf") if reduce == "amax" else float("inf")
    return torch.iinfo(kind).min if reduce == "amax" else torch.iinfo(kind).max


@_replaces(aten.scatter_reduce.two)
def _scatter_reduce(self, dim, index, src, reduce, *, include_self=True):
    """Means, and reductions without the own values: these become what changes nothing, where something is written."""
    if include_self and reduce != "mean":
        return NotImplemented
    start = self if include_self else self.scatter(dim, index, _identity_of(reduce, self.dtype))
    if reduce != "mean":
        return start.scatter_reduce(dim, index, src, reduce)
    count = torch.full_like(self, include_self).scatter_add(dim, index, torch.ones_like(src)).clamp_min(1)
    total = start.scatter_add(dim, index, src)
    return total / count if self.is_floating_point() else torch.div(total, count, rounding_mode="floor")


@_replaces(aten.index_reduce.default)
def _index_reduce(self, dim, index, source, reduce, *, include_self=True):
    if self.dim() == 0:
        return NotImplemented
    axis = dim % self.dim()
    places = index.reshape([-1 if d == axis else 1 for d in range(self.dim())]).expand_as(source)
    return self.scatter_reduce(axis, places, source, reduce, include_self=include_self)


def _count_below(values, sorted_sequence, right):
    """How many entries of the last dimension lie before each value; all of them before NaN."""
    entries, values = sorted_sequence.unsqueeze(-2), values.unsqueeze(-1)
    return (~(entries > values) if right else ~(entries >= values)).sum(-1)


@_replaces(aten.bucketize.Tensor)
def _bucketize(self, boundaries, *, out_int32=False, right=False):
    kind = torch.result_type(self, boundaries)
    found = _count_below(self.to(kind).reshape(1, -1), boundaries.to(kind), right).reshape(self.shape)
    return found.to(torch.int32) if out_int32 else found


@_replaces(aten.searchsorted.Tensor)
def _searchsorted(sorted_sequence, self, *, out_int32=False, right=False, side=None, sorter=None):
    kind = torch.result_type(self, sorted_sequence)
    entries = sorted_sequence if sorter is None else sorted_sequence.gather(-1, sorter)
    values = self.to(kind) if entries.dim() > 1 else self.to(kind).reshape(1, -1)
    found = _count_below(values, entries.to(kind), right or side == "right").reshape(self.shape)
    return found.to(torch.int32) if out_int32 else found


@_replaces(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def _embedding_bag(
    weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=-1
):
    """Rows summed (mode 0), averaged (1) or maximized (2) by bag. The three outputs for the backward pass follow eager's meaning."""
    starts = (offsets[:-1] if include_last_offset else offsets).to(torch.int64)
    bags, total = starts.shape[0], indices.shape[0]
    position = torch.arange(total, device=indices.device)
    bag = (position[:, None] >= starts[None, :]).sum(1) - 1
    keep = indices != padding_idx
    rows = weight[indices]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    member = ((bag[None, :] == torch.arange(bags, device=indices.device)[:, None]) & keep).to(torch.int64)
    count = member.sum(1)
    if mode == 2:
        largest, out = indices.new_zeros([bags, weight.shape[1]]), weight.new_zeros([bags, weight.shape[1]])
        if total:
            values, places = torch.where(member[:, :, None] != 0, rows[None], float("-inf")).max(1)
            filled = count[:, None] > 0
            out, largest = torch.where(filled, values, 0).to(weight.dtype), torch.where(filled, indices[places], 0)
    else:
        out = weight.new_zeros([bags, weight.shape[1]]).index_add(0, bag, torch.where(keep[:, None], rows, 0))
        out, largest = out / count.clamp_min(1)[:, None].to(out.dtype) if mode == 1 else out, indices.new_zeros([0])
    return out, bag.to(indices.dtype), count.to(indices.dtype), largest


@_replaces(aten._embedding_bag_backward.default)
def _embedding_bag_backward(
    grad, indices, offsets, offset2bag, bag_size, maximum_indices, num_weights, scale_grad_by_freq, mode, sparse, per_sample_weights, padding_idx=-1
):
    """The gradient of the table. offset2bag, bag_size, maximum_indices: the further outputs of the forward pass."""
    if sparse or scale_grad_by_freq:  # eager on the CPU divides by counts of its own
        return NotImplemented
    if mode == 2:
        rows = torch.where(bag_size[:, None] > 0, grad, 0)
        return grad.new_zeros([num_weights, grad.shape[1]]).scatter_add(0, maximum_indices.to(torch.int64), rows)
    if mode == 1:
        grad = grad / bag_size.clamp_min(1)[:, None].to(grad.dtype)
    rows = grad[offset2bag]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    return aten.embedding_dense_backward(rows, indices, num_weights, padding_idx, False)


@_replaces(aten._embedding_bag_per_sample_weights_backward.default)
def _embedding_bag_per_sample_weights_backward(grad, weight, indices, offsets, offset2bag, mode, padding_idx=-1):
    return torch.where(indices == padding_idx, 0, (grad[offset2bag] * weight[indices]).sum(1)).to(grad.dtype)


def _heads(x, num_heads):
    batch, length, width = x.shape
    return x.reshape(batch, length, num_heads, width // num_heads).transpose(1, 2)


def _attention_mask(mask, mask_type, shape):
    """The additive-or-boolean mask of the fused transformer ops as a mask of what may be seen. mask_type: 0 [L, L], 1 [B, L] of padding, 2 general."""
    if mask is None:
        return None
    if mask_type == 1:
        mask = mask.reshape(shape[0], 1, 1, shape[1])
    elif mask_type == 2 and mask.dim() == 3:
        mask = mask.reshape(shape[0], -1, shape[1], shape[1])
    return ~mask if mask.dtype == torch.bool else mask


def _self_attention(x, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, mask_type):
    q, k, v = torch.nn.functional.linear(x, qkv_weight, qkv_bias).chunk(3, -1)
    seen = _attention_mask(mask, mask_type, x.shape)
    y = torch.nn.functional.scaled_dot_product_attention(*(_heads(t, num_heads) for t in (q, k, v)), attn_mask=seen)
    return torch.nn.functional.linear(y.transpose(1, 2).reshape(x.shape), proj_weight, proj_bias)


@_replaces(aten._transformer_encoder_layer_fwd.default)
def _transformer_encoder_layer_fwd(
    src, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, use_gelu, norm_first, eps,
    norm_weight_1, norm_bias_1, norm_weight_2, norm_bias_2, ffn_weight_1, ffn_bias_1, ffn_weight_2, ffn_bias_2, mask=None, mask_type=None,
):  # fmt: skip
    f = torch.nn.functional

    def norm1(t):
        return f.layer_norm(t, [embed_dim], norm_weight_1, norm_bias_1, eps)

    def norm2(t):
        return f.layer_norm(t, [embed_dim], norm_weight_2, norm_bias_2, eps)

    def attend(t):
        return _self_attention(t, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, mask_type)

    def feed(t):
        inner = f.linear(t, ffn_weight_1, ffn_bias_1)
        return f.linear(f.gelu(inner) if use_gelu else f.relu(inner), ffn_weight_2, ffn_bias_2)

    if norm_first:
        x = src + attend(norm1(src))
        return x + feed(norm2(x))
    x = norm1(src + attend(src))
    return norm2(x + feed(x))
