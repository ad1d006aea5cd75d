// SPDX-License-Identifier: Apache-2.0
// A product with weights as a convolution that only mixes channels: rows are pixels. Positions of tensors stay.
#include <algorithm>

#include "kernels/codegen/space.h"
#include "kernels/cudnn/cudnn_tactics.h"

namespace tuyere {
namespace {

/// [.., rows, columns] as [N, columns, H, W] of the same memory; leading dims of images as they are.
TensorDesc image(const TensorDesc& t, const Shape& shape) {
  const std::vector<Dim> strides = codegen::broadcast_strides(t, shape);
  const size_t rank = shape.size();
  TensorDesc out = t;
  const auto size = [&](size_t d) { return strides[d].is_const(0) ? Dim(1) : shape[d]; };
  if (rank == 4) {
    out.shape = {size(0), size(3), size(1), size(2)}, out.strides = {strides[0], strides[3], strides[1], strides[2]};
  } else if (rank == 3) {
    out.shape = {size(0), size(2), size(1), 1}, out.strides = {strides[0], strides[2], strides[1], strides[1]};
  } else {
    out.shape = {1, size(1), size(0), 1}, out.strides = {shape[0] * strides[0], strides[1], strides[0], strides[0]};
  }
  return out;
}

/// What varies along the columns only, as [columns, 1, 1].
TensorDesc bias(const TensorDesc& t) {
  TensorDesc out = t;
  out.shape = {t.shape.back(), 1, 1}, out.strides = {1, 1, 1};
  return out;
}

bool is_vector(const TensorDesc& t, const Dim& columns) {
  return t.rank() >= 1 && t.shape.back() == columns && t.strides.back().is_const(1) &&
         std::all_of(t.shape.begin(), t.shape.end() - 1, [](const Dim& d) { return d.is_const(1); });
}

}  // namespace

std::optional<Problem> as_conv(const Problem& problem) {
  const auto* op = std::get_if<MatMul>(&problem.op);
  if (!op || op->trans_a || !op->trans_b || problem.in.size() < 2 || problem.out.size() != 1) return std::nullopt;
  const TensorDesc &x = problem.in[0], &w = problem.in[1], &y = problem.out[0];
  const int rank = y.rank();
  const bool matrices = rank >= 2 && rank <= 4 && x.rank() == rank && w.rank() == 2 && is_static(w.shape) && w.strides[1].is_const(1);
  if (!matrices || !std::equal(x.shape.begin(), x.shape.end() - 1, y.shape.begin()) || !x.strides.back().is_const(1) || !y.strides.back().is_const(1))
    return std::nullopt;
  Problem conv;
  Conv mix;
  mix.stride = mix.dilation = {1, 1};
  mix.pad_before = mix.pad_after = mix.output_padding = {0, 0};
  mix.tf32 = op->tf32, mix.type = op->type, mix.epilogue = op->epilogue;
  conv.op = mix;
  conv.in = problem.in;
  conv.in[0] = image(x, x.shape);
  conv.in[1].shape = {w.shape[0], w.shape[1], 1, 1}, conv.in[1].strides = {w.strides[0], 1, w.shape[1], w.shape[1]};
  for (size_t i = 2; i < problem.in.size(); ++i) {
    const TensorDesc& t = problem.in[i];
    if (!is_vector(t, y.shape.back()) && t.shape != y.shape) return std::nullopt;
    conv.in[i] = t.shape == y.shape ? image(t, y.shape) : bias(t);
  }
  conv.out = {image(y, y.shape)};
  conv.hints = problem.hints;
  conv.deterministic = problem.deterministic;
  return conv;
}

}  // namespace tuyere
