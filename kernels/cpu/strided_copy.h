// SPDX-License-Identifier: Apache-2.0
// Copies of strided tensors, bit for bit.
#pragma once
#include "kernels/cpu/views.h"

namespace tuyere::cpu {

/// A walk over the dims of a nest that keeps the element offsets of its operands, at most four.
class NestWalk {
 public:
  /// The first `rank` dims of the nest, from index number `start` on.
  NestWalk(const LoopNest& nest, int rank, int64_t start);
  int64_t offset(int k) const { return offset_[static_cast<size_t>(k)]; }
  void next() {
    for (int d = odometer_.rank - 1; d >= 0; --d) {
      for (size_t k = 0; k < kOperands; ++k) offset_[k] += strides_[k][d];
      if (++odometer_.index[d] < odometer_.shape[d]) return;
      for (size_t k = 0; k < kOperands; ++k) offset_[k] -= strides_[k][d] * odometer_.shape[d];
      odometer_.index[d] = 0;
    }
  }

 private:
  static constexpr size_t kOperands = 4;
  Odometer odometer_;
  std::array<Ix, kOperands> strides_{};
  std::array<int64_t, kOperands> offset_{};
};

/// out[i] = in[i] for elements of 1, 2, 4 or 8 bytes: whole rows, repeated values, transposed blocks or single elements, in parallel.
class StridedCopy {
 public:
  StridedCopy() = default;
  /// `in` has the shape of `out` (stride 0 repeats).
  StridedCopy(const View& out, const View& in, int64_t bytes);
  void run(void* out, const void* in) const;

 private:
  enum class Kind { rows, fill, transpose, elements };
  void pair_transposed_dims();
  void copy_units(char* out, const char* in, int64_t begin, int64_t end) const;

  LoopNest nest_;
  Kind kind_ = Kind::rows;
  int outer_ = 0;  // dims that the walk covers
  int64_t bytes_ = 1;
  bool whole_rows_ = false;         // a piece is rows of the innermost dim, otherwise a part of one row
  int64_t chunk_ = 1, chunks_ = 1;  // pieces of the dim that follows the walk
  int64_t units_ = 0;
  int threads_ = 1;
};

/// Calls f.operator()<T>() with the unsigned integer of `bytes` bytes.
template <class F>
auto with_element(int64_t bytes, F f) {
  switch (bytes) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    default:
      return f.template operator()<uint64_t>();
  }
}

}  // namespace tuyere::cpu
