// SPDX-License-Identifier: Apache-2.0
#include "core/network/infer/check.h"
#include "core/network/infer/infer.h"
#include "kernels/api/conv_blocks.h"

namespace tuyere::inference {
namespace {

/// How an op names its axes; ops without any have none of these members.
template <class T>
concept HasAxis = requires(T& op) {
  op.axis;
};
template <class T>
concept HasAxes = requires(T& op) {
  op.axes.size();
};

void front(int64_t& axis, int rank) {
  if (axis < 0 && axis >= -rank) axis += rank;
}

void fill(std::vector<int64_t>& list, size_t size, int64_t value) {
  if (list.empty()) list.assign(size, value);
}

void fill_lists(Conv& op, Inputs in) {
  if (in.size() < 2 || rank_of(in[1]) < 3) return;
  const size_t spatial = conv_spatial(op, in[1].shape.size());
  fill(op.stride, spatial, 1);
  fill(op.pad_before, spatial, 0);
  fill(op.pad_after, spatial, 0);
  fill(op.dilation, spatial, 1);
  if (op.transposed) fill(op.output_padding, spatial, 0);
}

void fill_lists(Pool& op) {
  if (op.stride.empty()) op.stride = op.kernel;
  fill(op.pad, op.kernel.size(), 0);
  fill(op.dilation, op.kernel.size(), 1);
}

template <class T>
void normalize_one(T& op, Inputs in) {
  if (in.empty()) return;
  int rank = rank_of(in[0]);
  if constexpr (std::is_same_v<T, Reduce> || std::is_same_v<T, Softmax>) {  // axes are those of the prologue's result
    for (size_t k = 1; k < std::min(in.size(), prologue_inputs(op.prologue)); ++k) rank = std::max(rank, rank_of(in[k]));
  }
  if constexpr (HasAxis<T>) front(op.axis, rank);
  if constexpr (HasAxes<T>)
    for (int64_t& axis : op.axes) front(axis, rank);
  if constexpr (std::is_same_v<T, Conv>) fill_lists(op, in);
  if constexpr (std::is_same_v<T, Pool>) fill_lists(op);
}

}  // namespace

void normalize(Op& op, Inputs in) {
  std::visit([&](auto& o) { normalize_one(o, in); }, op);
}

}  // namespace tuyere::inference
