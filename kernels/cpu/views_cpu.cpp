// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/views.h"

#include <numeric>

namespace tuyere::cpu {

View::View(const TensorView& t) : dtype(t.dtype), rank(static_cast<int>(t.shape.size())) {
  USER_CHECK(rank <= kMaxRank, "rank " << rank << " is more than the " << int{kMaxRank} << " dimensions the CPU kernels know");
  INTERNAL_CHECK(t.strides.size() == t.shape.size(), "strides and shape differ in rank");
  for (int d = 0; d < rank; ++d) {
    shape[d] = t.shape[d];
    strides[d] = t.strides[d];
  }
}

int64_t View::numel() const { return product(rank, shape); }

View View::broadcast_to(int target_rank, const Ix& target) const {
  INTERNAL_CHECK(rank <= target_rank, "cannot broadcast rank " << rank << " to rank " << target_rank);
  View v;
  v.dtype = dtype;
  v.rank = target_rank;
  v.shape = target;
  const int shift = target_rank - rank;
  for (int d = 0; d < rank; ++d) {
    INTERNAL_CHECK(shape[d] == target[d + shift] || shape[d] == 1, "dim " << d << " of size " << shape[d] << " does not broadcast to " << target[d + shift]);
    v.strides[d + shift] = shape[d] == 1 ? 0 : strides[d];
  }
  return v;
}

bool View::contiguous() const {
  int64_t expected = 1;
  for (int d = rank - 1; d >= 0; --d) {
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

int64_t product(int rank, const Ix& shape) {
  int64_t n = 1;
  for (int d = 0; d < rank; ++d) n *= shape[d];
  return n;
}

View View::dense(DType type) const {
  View v = *this;
  v.dtype = type;
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    v.strides[d] = stride;
    stride *= std::max<int64_t>(1, shape[d]);
  }
  return v;
}

View View::transposed() const {
  View v = *this;
  std::swap(v.shape[rank - 1], v.shape[rank - 2]);
  std::swap(v.strides[rank - 1], v.strides[rank - 2]);
  return v;
}

View broadcast_shape(const std::vector<TensorView>& in, int first, int count) {
  View v;
  for (int k = first; k < first + count; ++k) v.rank = std::max(v.rank, static_cast<int>(in[k].shape.size()));
  USER_CHECK(v.rank <= kMaxRank, "rank " << v.rank << " is more than the " << int{kMaxRank} << " dimensions the CPU kernels know");
  std::fill_n(v.shape.begin(), v.rank, 1);
  for (int k = first; k < first + count; ++k) {
    const int shift = v.rank - static_cast<int>(in[k].shape.size());
    for (size_t d = 0; d < in[k].shape.size(); ++d) {
      if (in[k].shape[d] != 1) v.shape[d + shift] = in[k].shape[d];
    }
  }
  return v.dense(v.dtype);
}

namespace {
// Order of the dims by the strides of the operands: the first operand that tells two dims apart decides.
bool outer_first(int a, int b, const std::vector<Ix>& strides) {
  for (const Ix& s : strides) {
    const int64_t x = std::abs(s[a]), y = std::abs(s[b]);
    if (x != y && x != 0 && y != 0) return x > y;
  }
  return a < b;
}
}  // namespace

LoopNest make_nest(int rank, const Ix& shape, const std::vector<Ix>& strides) {
  std::vector<int> order;
  for (int d = 0; d < rank; ++d) {
    if (shape[d] == 1) continue;
    // Insertion keeps the original order where strides do not tell (the comparison is no strict weak order over broadcasts).
    size_t at = order.size();
    while (at > 0 && outer_first(d, order[at - 1], strides)) --at;
    order.insert(order.begin() + static_cast<long>(at), d);
  }
  LoopNest nest;
  nest.strides.resize(strides.size());
  for (int d : order) {
    bool merge = nest.rank > 0;
    for (size_t k = 0; merge && k < strides.size(); ++k) merge = nest.strides[k][nest.rank - 1] == strides[k][d] * shape[d];
    if (merge) {
      nest.shape[nest.rank - 1] *= shape[d];
      for (size_t k = 0; k < strides.size(); ++k) nest.strides[k][nest.rank - 1] = strides[k][d];
      continue;
    }
    nest.shape[nest.rank] = shape[d];
    for (size_t k = 0; k < strides.size(); ++k) nest.strides[k][nest.rank] = strides[k][d];
    ++nest.rank;
  }
  if (nest.rank == 0) {
    nest.rank = 1;
    nest.shape[0] = 1;
  }
  return nest;
}

}  // namespace tuyere::cpu
