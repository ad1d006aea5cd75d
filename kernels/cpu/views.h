// SPDX-License-Identifier: Apache-2.0
// Strided views with a fixed maximal rank, so that run() walks them without memory of its own.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "common/dtype.h"
#include "common/error.h"
#include "kernels/api/step.h"

namespace tuyere::cpu {

constexpr int kMaxRank = 12;
using Ix = std::array<int64_t, kMaxRank>;

/// A tensor's dtype, sizes and strides (elements).
struct View {
  DType dtype = DType::F32;
  int rank = 0;
  Ix shape{}, strides{};

  View() = default;
  explicit View(const TensorView& t);
  int64_t numel() const;
  int64_t offset(const Ix& index) const {
    int64_t o = 0;
    for (int d = 0; d < rank; ++d) o += index[d] * strides[d];
    return o;
  }
  double load(const void* data, const Ix& index) const { return load_as_double(dtype, data, offset(index)); }
  void store(void* data, const Ix& index, double value) const { store_from_double(dtype, data, offset(index), value); }
  /// NumPy broadcast to `target`: repeated dims get stride 0.
  View broadcast_to(int target_rank, const Ix& target) const;
  View broadcast_to(const View& target) const { return broadcast_to(target.rank, target.shape); }
  /// Dense row-major.
  bool contiguous() const;
  /// The same sizes, dense row-major, of a type.
  View dense(DType type) const;
  /// The last two dims exchanged.
  View transposed() const;
};

/// A counter over `shape` in row-major order.
struct Odometer {
  int rank = 0;
  Ix shape{}, index{};
  /// Steps to the next index; false after the last one.
  bool next() {
    for (int d = rank - 1; d >= 0; --d) {
      if (++index[d] < shape[d]) return true;
      index[d] = 0;
    }
    return false;
  }
  /// Sets the index from a row-major number.
  void seek(int64_t number) {
    for (int d = rank - 1; d >= 0; --d) {
      index[d] = number % shape[d];
      number /= shape[d];
    }
  }
};

int64_t product(int rank, const Ix& shape);

/// Calls f(index) for every index of `shape`; nothing for an empty shape.
template <class F>
void for_each_index(int rank, const Ix& shape, F&& f) {
  if (product(rank, shape) == 0) return;
  Odometer o{rank, shape, {}};
  do f(static_cast<const Ix&>(o.index));
  while (o.next());
}

/// The NumPy broadcast of the shapes of in[first .. first+count).
View broadcast_shape(const std::vector<TensorView>& in, int first, int count);

inline int normalize_axis(int64_t axis, int rank) {
  const int64_t a = axis < 0 ? axis + rank : axis;
  INTERNAL_CHECK(a >= 0 && a < std::max(rank, 1), "axis " << axis << " out of range for rank " << rank);
  return static_cast<int>(a);
}

/// An iteration space shared by several operands, with dims ordered by the first operand's strides (outermost first), size-1 dims dropped and
/// neighbours merged where every operand allows it. strides[k] are those of operand k.
struct LoopNest {
  int rank = 0;
  Ix shape{};
  std::vector<Ix> strides;
  int64_t numel() const { return product(rank, shape); }
};
LoopNest make_nest(int rank, const Ix& shape, const std::vector<Ix>& strides);

}  // namespace tuyere::cpu
