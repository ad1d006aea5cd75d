# SPDX-License-Identifier: Apache-2.0
"""Attention in training. PyTorch's dispatcher picks a fused op per device, with outputs that only its own kernels read (random states, lengths of sequences).
Where there is no dropout, all of them become the two ops that have nothing else than the result and the logsumexp, and our kernels for these. PyTorch has these
two for the CPU only: what stays outside of engines on a GPU runs in_pytorch()."""

import math

import torch

aten = torch.ops.aten

_forward = aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def _fits(query, key, value, dropout_p):
    """What the engine's kernels for gradients take, on every device; the same for a forward op and its backward."""
    shapes = query.shape, key.shape, value.shape
    return (
        dropout_p == 0
        and query.dtype in (torch.float16, torch.bfloat16, torch.float32)
        and all(len(s) == 4 and s[0] == query.shape[0] and s[1] == query.shape[1] and s[3] == query.shape[3] for s in shapes)
        and isinstance(query.shape[3], int)
        and query.shape[3] <= 1024
    )


def _random_state(query):
    return query.new_zeros((), dtype=torch.int64)


def flash(query, key, value, dropout_p=0.0, is_causal=False, return_debug_mask=False, *, scale=None):
    if return_debug_mask or not _fits(query, key, value, dropout_p):
        return NotImplemented
    out, logsumexp = _forward(query, key, value, 0.0, is_causal, scale=scale)
    state = _random_state(query)
    return out, logsumexp, None, None, query.shape[2], key.shape[2], state, state, query.new_empty(0)


def flash_backward(dout, query, key, value, out, logsumexp, cum_q, cum_k, max_q, max_k, dropout_p, is_causal, seed, offset, *, scale=None):
    if not _fits(query, key, value, dropout_p):
        return NotImplemented
    return _backward(dout, query, key, value, out, logsumexp, 0.0, is_causal, scale=scale)


def cudnn(query, key, value, bias, compute_log_sumexp, dropout_p=0.0, is_causal=False, return_debug_mask=False, *, scale=None):
    if return_debug_mask or not compute_log_sumexp or not _fits(query, key, value, dropout_p):
        return NotImplemented
    out, logsumexp = _forward(query, key, value, 0.0, is_causal, attn_mask=bias, scale=scale)
    state = _random_state(query)
    return out, logsumexp.unsqueeze(-1), None, None, query.shape[2], key.shape[2], state, state, None


def cudnn_backward(dout, query, key, value, out, logsumexp, seed, offset, bias, cum_q, cum_k, max_q, max_k, dropout_p, is_causal, *, scale=None):
    if not _fits(query, key, value, dropout_p):
        return NotImplemented
    return _backward(dout, query, key, value, out, logsumexp.squeeze(-1), 0.0, is_causal, attn_mask=bias, scale=scale)


def efficient(query, key, value, bias, compute_log_sumexp, dropout_p=0.0, is_causal=False, *, scale=None):
    if not compute_log_sumexp or not _fits(query, key, value, dropout_p):
        return NotImplemented
    out, logsumexp = _forward(query, key, value, 0.0, is_causal, attn_mask=bias, scale=scale)
    state = _random_state(query)
    return out, torch.nn.functional.pad(logsumexp, (0, -query.shape[2] % 32)), state, state  # PyTorch's has whole blocks of queries


def efficient_backward(dout, query, key, value, bias, out, logsumexp, seed, offset, dropout_p, wanted, is_causal=False, *, scale=None):
    if not _fits(query, key, value, dropout_p):
        return NotImplemented
    logsumexp = logsumexp[:, :, : query.shape[2]]
    gradients = _backward(dout, query, key, value, out, logsumexp, 0.0, is_causal, attn_mask=bias, scale=scale)
    return (*gradients, _bias_gradient(dout, query, key, value, bias, out, logsumexp, is_causal, scale) if bias is not None and wanted[3] else None)


def _bias_gradient(dout, query, key, value, bias, out, logsumexp, is_causal, scale):
    """That of the scores."""
    return _score_gradient(dout, query, key, value, bias, out, logsumexp, is_causal, _scale(query, scale))[1].to(bias.dtype)


def _scale(query, scale):
    return scale if scale is not None else 1 / math.sqrt(query.shape[-1])


def _score_gradient(dout, query, key, value, bias, out, logsumexp, is_causal, scale):
    """The weights of the values, and the gradient of what the softmax was taken of, in f32. Queries that see no key have neither."""
    scores = query.float() @ key.float().transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias
    sees = (logsumexp != -math.inf).unsqueeze(-1)
    weights = torch.where(sees, (scores - logsumexp.unsqueeze(-1)).exp(), 0.0)
    if is_causal:
        weights = weights.tril()
    slopes = dout.float() @ value.float().transpose(-1, -2) - (dout.float() * out.float()).sum(-1, keepdim=True)
    return weights, weights * slopes


TRAINING = {
    aten._scaled_dot_product_flash_attention.default: flash,
    aten._scaled_dot_product_flash_attention_backward.default: flash_backward,
    aten._scaled_dot_product_cudnn_attention.default: cudnn,
    aten._scaled_dot_product_cudnn_attention_backward.default: cudnn_backward,
    aten._scaled_dot_product_efficient_attention.default: efficient,
    aten._scaled_dot_product_efficient_attention_backward.default: efficient_backward,
}


def _whole_rows(bias, query, key):
    """As the op of the GPU reads it: for every head, with rows that start at multiples of 16 elements."""
    length = key.shape[2]
    rows = bias.to(query.dtype).expand(*bias.shape[:-1], length).contiguous()
    rows = torch.nn.functional.pad(rows, (0, -length % 16))[..., :length]
    return rows.expand(*query.shape[:3], length)


def on_gpu(query, key, value, dropout_p=0.0, is_causal=False, *, attn_mask=None, scale=None):
    bias = attn_mask if attn_mask is None else _whole_rows(attn_mask, query, key)
    out, logsumexp, _, _ = aten._scaled_dot_product_efficient_attention(query, key, value, bias, True, 0.0, is_causal, scale=scale)
    return torch.empty_like(query).copy_(out), logsumexp[:, :, : query.shape[2]]  # the graph was traced with the query's order of memory


def on_gpu_backward(grad_out, query, key, value, out, logsumexp, dropout_p, is_causal, *, attn_mask=None, scale=None):
    """By formulas, an element of the batch at a time: PyTorch's op for it expects what its own op for the result leaves behind."""
    scale = _scale(query, scale)
    results = [t.new_empty(t.shape[0], t.shape[2], t.shape[1], t.shape[3]).transpose(1, 2) for t in (query, key, value)]
    for b in range(query.shape[0]):
        bias = attn_mask if attn_mask is None or attn_mask.dim() < 4 or attn_mask.shape[0] == 1 else attn_mask[b : b + 1]
        dout, q, k, v, o, lse = (t[b : b + 1] for t in (grad_out, query, key, value, out, logsumexp))
        weights, gradient = _score_gradient(dout, q, k, v, bias, o, lse, is_causal, scale)
        parts = gradient @ k.float() * scale, gradient.transpose(-1, -2) @ q.float() * scale, weights.transpose(-1, -2) @ dout.float()
        for result, part in zip(results, parts, strict=True):
            result[b : b + 1] = part
    return tuple(results)


_ON_GPU = {_forward: on_gpu, _backward: on_gpu_backward}


def in_pytorch(node):
    """What a node of FX calls when PyTorch runs it: its target, or, for the two ops on a GPU, the same by the op that PyTorch has there."""
    function = _ON_GPU.get(node.target) if node.op == "call_function" else None
    return function if function and node.meta["val"][0].device.type == "cuda" else node.target
