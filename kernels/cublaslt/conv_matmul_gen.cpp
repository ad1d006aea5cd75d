// SPDX-License-Identifier: Apache-2.0
// A convolution that only mixes channels as a product of matrices: rows are pixels. Positions of tensors stay.
#include "kernels/conv/conv_view.h"
#include "kernels/cublaslt/cublaslt_tactics.h"

namespace tuyere {
namespace {

/// An epilogue tensor over (pixel, channel); broadcast coordinates have size 1.
TensorDesc rows(const mma::EpilogueTensor& t, const Dim& pixels, const Dim& channels, const TensorDesc& from) {
  TensorDesc desc = from;
  desc.shape = {t.strides[0].is_const(0) ? Dim(1) : pixels, t.strides[1].is_const(0) ? Dim(1) : channels};
  desc.strides = {t.strides[0].is_const(0) ? Dim(1) : t.strides[0], t.strides[1].is_const(0) ? Dim(1) : t.strides[1]};
  return desc;
}

}  // namespace

std::optional<Problem> as_matmul(const Problem& problem) {
  const auto* op = std::get_if<Conv>(&problem.op);
  if (!op || problem.in.size() < 2 || problem.out.size() != 1 || problem.in[0].rank() < 3 || problem.in[0].rank() > 5 || op->transposed) return std::nullopt;
  if (static_cast<int>(op->stride.size()) + 2 != problem.in[0].rank() || !problem.in[0].shape[1].is_const() || !problem.out[0].shape[1].is_const() ||
      !is_static(problem.in[1].shape))
    return std::nullopt;
  const conv::View v = conv::view(problem);
  const std::optional<Dim> step = conv::pixel_step(v);
  if (!step || v.pixels.size() != 1 || !v.x_channel.is_const(1) || !(v.in_group == 1 || v.w_in.is_const(1))) return std::nullopt;
  const Dim pixels = v.pixel_count(), channels = v.out_group;
  Problem product;
  product.op = MatMul{.trans_b = true, .tf32 = op->tf32, .type = op->type, .epilogue = op->epilogue};
  product.in = problem.in;
  product.in[0].shape = {pixels, v.in_group}, product.in[0].strides = {*step, 1};
  product.in[1].shape = {channels, v.in_group}, product.in[1].strides = {v.w_out, 1};
  for (size_t i = 0; i < v.extras.size(); ++i) product.in[i + 2] = rows(v.extras[i], pixels, channels, problem.in[i + 2]);
  product.out = {rows(v.outs[0], pixels, channels, problem.out[0])};
  product.out[0].shape = {pixels, channels};
  product.hints = problem.hints;
  product.deterministic = problem.deterministic;
  return product;
}

}  // namespace tuyere
