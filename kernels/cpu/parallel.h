// SPDX-License-Identifier: Apache-2.0
// Splitting work over the OpenMP threads of the process (the pool that oneDNN and PyTorch use too).
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace tuyere::cpu {

/// Threads worth starting for `cost` element operations: small problems stay serial.
inline int threads_for(int64_t cost, int64_t grain = 32768) {
  return static_cast<int>(std::clamp<int64_t>(cost / grain, 1, std::max(1, omp_get_max_threads())));
}

/// Calls f(thread, begin, end) with a static partition of [0, work); thread < threads.
template <class F>
void parallel_ranges(int threads, int64_t work, const F& f) {
  if (threads <= 1 || work <= 1) {
    if (work > 0) f(0, int64_t{0}, work);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t count = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t begin = work * me / count, end = work * (me + 1) / count;
    if (begin < end) f(static_cast<int>(me), begin, end);
  }
}

}  // namespace tuyere::cpu
