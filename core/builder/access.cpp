// SPDX-License-Identifier: Apache-2.0
#include "core/builder/access.h"

#include <algorithm>

namespace tuyere {
namespace {

constexpr int64_t kPixelVector = 8;  // channels: kernels copy as many at once

template <class... Ts>
bool is_any_of(const Op& op) {
  return (std::holds_alternative<Ts>(op) || ...);
}

/// Strides come from dense buffers and views, so that two dims of size > 1 without stride 0 never overlap: a unit stride and a stride that
/// does not repeat make a matrix.
bool is_matrix(const Shape& shape, const std::vector<Dim>& strides) {
  size_t rank = shape.size();
  if (rank < 2) return rank == 0 || shape[0].is_const(1) || strides[0].is_const(1);
  auto unit = [&](size_t d) { return shape[d].is_const(1) || strides[d].is_const(1); };
  auto steps = [&](size_t d) { return shape[d].is_const(1) || !strides[d].is_const(0); };
  return (unit(rank - 1) && steps(rank - 2)) || (unit(rank - 2) && steps(rank - 1));
}

/// Whether these are whole vectors of the channels of a larger channels-last image.
bool are_pixels(const TensorType& type, const std::vector<Dim>& strides, const Dim& offset) {
  const size_t rank = type.shape.size();
  if (rank < 3 || type.layout != Layout::channels_last(static_cast<int>(rank)) || !strides[1].is_const(1)) return false;
  const auto vectors = [](const Dim& d) { return d.is_const() && d.value() % kPixelVector == 0; };
  if (!vectors(strides[rank - 1]) || !vectors(offset) || !vectors(type.shape[1])) return false;
  for (size_t d = 2; d + 1 < rank; ++d)
    if (strides[d] != strides[d + 1] * type.shape[d + 1]) return false;
  return strides[0] == strides[2] * type.shape[2];
}

/// PyTorch's bernoulli with a probability reads no values; in which order it draws depends on the memory order.
bool reads_shape_only(const Op& op) {
  const auto* call = std::get_if<HostCall>(&op);
  return call && call->op == "aten::bernoulli" && call->overload == "p";
}

}  // namespace

Access access(const Op& op, int slot, bool on_gpu) {
  if (std::holds_alternative<MatMul>(op)) return slot < 2 ? Access::matrix : Access::any;
  if (std::holds_alternative<GatedMatMul>(op)) return slot < 3 ? Access::matrix : Access::any;
  if (const auto* conv = std::get_if<Conv>(&op)) return slot > 1 ? Access::any : slot == 0 && on_gpu && !conv->transposed ? Access::pixels : Access::image;
  if (std::holds_alternative<ExpandedDepthwise>(op)) return slot < 3 ? Access::image : Access::any;
  if (std::holds_alternative<Recurrent>(op)) return slot == 0 ? Access::inner : Access::row_major;
  if (std::holds_alternative<Attention>(op)) return slot < 3 ? Access::inner : Access::any;
  if (std::holds_alternative<AttentionGradient>(op)) return slot < 5 ? Access::inner : Access::any;
  if (is_any_of<Pool, AdaptivePool>(op)) return on_gpu ? Access::any : Access::image;
  if (is_any_of<PoolGradient, Resize, ConvWeightGradient>(op)) return Access::image;
  if (is_any_of<Pointwise, Reduce, ArgReduce, Softmax, Norm, LayerNormGradient, Concat, Pad, Flip, Gather, GatherElements, Index>(op)) return Access::any;
  return reads_shape_only(op) ? Access::shape : Access::row_major;
}

bool satisfies(Access access, const TensorType& type, const std::vector<Dim>& strides, const Dim& offset) {
  const Shape& shape = type.shape;
  int rank = static_cast<int>(shape.size());
  switch (access) {
    case Access::any:
      return true;
    case Access::matrix:
      return is_matrix(shape, strides);
    case Access::inner:
      return rank == 0 || shape[rank - 1].is_const(1) || strides[rank - 1].is_const(1);
    case Access::pixels:
      if (are_pixels(type, strides, offset)) return true;
      [[fallthrough]];
    case Access::image:
      return same_strides(shape, strides, layout_strides(shape, type.layout)) ||
             (rank >= 3 && same_strides(shape, strides, layout_strides(shape, Layout::channels_last(rank))));
    case Access::shape:
      if (std::all_of(strides.begin(), strides.end(), [](const Dim& stride) { return stride.is_const(0); })) return true;
      [[fallthrough]];
    case Access::row_major:
      return same_strides(shape, strides, contiguous_strides(shape));
  }
  return false;
}

bool writes_slices(const Op& op) {
  return is_any_of<Pointwise, Reduce, Softmax, Norm, MatMul, Conv, ExpandedDepthwise, Pool, AdaptivePool, Attention, AttentionGradient, Concat, Pad, Flip,
                   Gather, Resize>(op);
}

bool keeps_order(const Op& op) { return is_any_of<Conv, ExpandedDepthwise, Pool, AdaptivePool, PoolGradient, Resize>(op); }

}  // namespace tuyere
