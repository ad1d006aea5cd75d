# SPDX-License-Identifier: Apache-2.0
"""Resizing of images with antialiasing, which is linear along rows and along columns: two products with small matrices of weights, which engines know at build."""

import torch

aten = torch.ops.aten


def _linear_filter(x):
    return (1 - x).clamp_min(0)


def _cubic_filter(x):
    """Of Keys with a = -1/2."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


# Half the width of a window, and the weight by distance, in pixels of the smaller image.
_FILTERS = {
    aten._upsample_bilinear2d_aa.default: (1, _linear_filter),
    aten._upsample_bicubic2d_aa.default: (2, _cubic_filter),
    aten._upsample_bilinear2d_aa_backward.default: (1, _linear_filter),
    aten._upsample_bicubic2d_aa_backward.default: (2, _cubic_filter),
}


def _resampling(source, target, align_corners, scale, half_width, weigh, like):
    """[target, source]: what each new pixel takes of the old ones."""
    if align_corners:
        step = (source - 1) / (target - 1) if target > 1 else 0.0
    else:
        step = 1 / scale if scale else source / target
    stretch = max(step, 1.0)
    old, new = (torch.arange(n, dtype=torch.float64, device=like.device) for n in (source, target))
    center = step * (new + 0.5)[:, None]
    first = (center - half_width * stretch + 0.5).trunc().clamp_min(0)
    last = (center + half_width * stretch + 0.5).trunc().clamp_max(source)
    weights = torch.where((old >= first) & (old < last), weigh(((old - center + 0.5) / stretch).abs()), 0.0)
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def _resized(op, image, size, sizes, align_corners, scales, backward):
    """Two products, one for each direction. size: of the result; sizes: of the image that is resampled, and what it becomes."""
    if not all(isinstance(n, int) for n in (*image.shape[2:], *size)) or not image.is_floating_point():
        return NotImplemented
    wide = image if image.dtype == torch.float64 else image.to(torch.float32)
    rows, columns = (_resampling(a, b, align_corners, scale, *_FILTERS[op], wide) for a, b, scale in zip(*sizes, scales))
    out = ((rows.mT @ wide) @ columns if backward else rows @ (wide @ columns.mT)).to(image.dtype)
    channels_last = not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last)
    return out.contiguous(memory_format=torch.channels_last) if channels_last else out


def _forward(op):
    def resize(self, output_size, align_corners, scales_h=None, scales_w=None):
        return _resized(op, self, output_size, (self.shape[2:], output_size), align_corners, (scales_h, scales_w), False)

    return resize


def _backward(op):
    def resize(grad_output, output_size, input_size, align_corners, scales_h=None, scales_w=None):
        return _resized(op, grad_output, input_size[2:], (input_size[2:], output_size), align_corners, (scales_h, scales_w), True)

    return resize


FORMULAS = {op: (_backward if "backward" in str(op) else _forward)(op) for op in _FILTERS}
