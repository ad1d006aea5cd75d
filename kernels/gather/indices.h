// SPDX-License-Identifier: Apache-2.0
// Index values of the fast gather and scatter kernels.
#pragma once
#include <atomic>

#include "kernels/cpu/reference.h"

namespace tuyere::cpu {

/// The first index out of range that a thread saw; what follows changes nothing.
class IndexFailure {
 public:
  void set(int64_t index, int64_t size) {
    if (failed_.exchange(true)) return;
    index_ = index;
    size_ = size;
  }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  /// After all threads have joined.
  Status status() const { return failed() ? index_error(index_, size_) : Status::ok(); }

 private:
  std::atomic<bool> failed_{false};
  int64_t index_ = 0, size_ = 0;
};

/// Calls f.operator()<I>() with the C++ type of the index tensor.
template <class F>
auto with_index(DType type, F f) {
  if (type == DType::I32) return f.template operator()<int32_t>();
  INTERNAL_CHECK(type == DType::I64, "indices of type " << name(type));
  return f.template operator()<int64_t>();
}

/// The kernels with one index per element.
void add_element_kernels(CpuKernelTable& table);

}  // namespace tuyere::cpu
