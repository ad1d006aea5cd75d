// SPDX-License-Identifier: Apache-2.0
// Helpers of the reference kernels: scalar, in double, over any strides and dtypes. They are the oracle of the tests and the last candidate.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "kernels/api/program.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"

namespace tuyere::cpu {

/// A prologue: program(inputs first ...) at an index of the broadcast shape. The empty program is the identity of one input.
class RefPrologue {
 public:
  RefPrologue(const Program& program, const CpuProblem& p, int first = 0);
  /// The broadcast of the inputs.
  const View& shape() const { return shape_; }
  int inputs() const { return static_cast<int>(views_.size()); }
  /// Values of the outputs at `index`; valid until the next call.
  const double* at(void* const* pointers, const Ix& index);

 private:
  Program program_;
  int first_;
  View shape_;
  std::vector<View> views_;
  std::vector<double> in_, out_;
};

/// An epilogue: program(mains..., inputs first ...) at an index of the output, stored to the output.
class RefEpilogue {
 public:
  RefEpilogue(const Program& program, const CpuProblem& p, int first, int output = 0, int mains = 1);
  void store(void* const* pointers, const Ix& index, double main) { store_all(pointers, index, {&main, 1}); }
  void store_all(void* const* pointers, const Ix& index, std::span<const double> mains);

 private:
  Program program_;
  int first_, slot_, mains_;
  std::vector<View> outs_;  // one per output of the program
  std::vector<View> views_;
  std::vector<double> in_, values_;
};

/// Copies one element of `bytes` bytes.
inline void copy_element(void* to, int64_t to_index, const void* from, int64_t from_index, int64_t bytes) {
  __builtin_memcpy(static_cast<char*>(to) + to_index * bytes, static_cast<const char*>(from) + from_index * bytes, static_cast<size_t>(bytes));
}
/// Bytes of one element; INTERNAL_CHECKs that the type is not packed below a byte.
int64_t element_bytes(DType type);
/// An index value, exact for i32 and i64.
int64_t load_index(DType type, const void* data, int64_t i);
/// Wraps a negative index; false when it is out of range.
inline bool wrap_index(int64_t* index, int64_t size) {
  if (*index < 0) *index += size;
  return *index >= 0 && *index < size;
}
Status index_error(int64_t index, int64_t size);
/// -1, 0, 1 in PyTorch's order, where NaN is larger than everything.
inline int compare_nan_last(double a, double b) {
  if (a != a) return b != b ? 0 : 1;
  if (b != b) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

}  // namespace tuyere::cpu
