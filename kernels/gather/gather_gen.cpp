// SPDX-License-Identifier: Apache-2.0
#include "kernels/gather/gather_gen.h"

#include <algorithm>

namespace tuyere::codegen {
namespace {

size_t axis_of(int64_t axis, int rank) { return static_cast<size_t>(axis < 0 ? axis + rank : axis); }

Elementwise from_indices(const Problem& p, std::vector<Dim> x_strides, std::vector<Indirect> indirect, const std::vector<std::vector<Dim>>& index_strides) {
  const TensorDesc& out = p.out[0];
  Elementwise e;
  std::vector<std::vector<Dim>> strides{std::move(x_strides)};
  e.in.push_back({operand(p.in[0], 0), std::move(indirect)});
  for (size_t k = 0; k < index_strides.size(); ++k) {
    e.in.push_back({operand(p.in[k + 1], static_cast<int>(k + 1)), {}});
    strides.push_back(index_strides[k]);
  }
  e.out.push_back({operand(out, static_cast<int>(p.in.size())), {}});
  strides.push_back(out.strides);
  e.space = make_space(out.shape, strides);
  normalize(e.space, static_cast<int>(e.in.size()), p.hints);
  return e;
}

/// x[outer, idx..., inner]: the axes are replaced by the dims of the broadcast index tensors.
Elementwise take(const Problem& p, const std::vector<int64_t>& axes) {
  const TensorDesc& x = p.in[0];
  const int first = static_cast<int>(axis_of(axes[0], x.rank())), count = static_cast<int>(axes.size());
  const int index_rank = p.out[0].rank() - (x.rank() - count);
  std::vector<Dim> x_strides(p.out[0].rank(), Dim(0));
  for (int d = 0; d < x.rank(); ++d) {
    if (d >= first && d < first + count) continue;
    const int at = d < first ? d : d - count + index_rank;
    x_strides[at] = x.shape[d].is_const(1) ? Dim(0) : x.strides[d];
  }
  const Shape index_shape(p.out[0].shape.begin() + first, p.out[0].shape.begin() + first + index_rank);
  std::vector<Indirect> indirect;
  std::vector<std::vector<Dim>> index_strides;
  for (int k = 0; k < count; ++k) {
    indirect.push_back({k + 1, x.shape[first + k], x.strides[first + k]});
    std::vector<Dim> s(p.out[0].rank(), Dim(0));
    const auto own = broadcast_strides(p.in[k + 1], index_shape);
    std::copy(own.begin(), own.end(), s.begin() + first);
    index_strides.push_back(std::move(s));
  }
  return from_indices(p, std::move(x_strides), std::move(indirect), index_strides);
}

}  // namespace

Elementwise gather_elementwise(const Problem& p) {
  if (const auto* gather = std::get_if<Gather>(&p.op)) return take(p, {gather->axis});
  if (const auto* index = std::get_if<Index>(&p.op)) return take(p, index->axes);
  const TensorDesc& x = p.in[0];
  const size_t axis = axis_of(std::get<GatherElements>(p.op).axis, x.rank());
  std::vector<Dim> x_strides = x.strides;
  if (x.rank() > 0) x_strides[axis] = 0;
  std::vector<Indirect> indirect;
  if (x.rank() > 0) indirect.push_back({1, x.shape[axis], x.strides[axis]});
  return from_indices(p, std::move(x_strides), std::move(indirect), {p.in[1].strides});
}

}  // namespace tuyere::codegen
