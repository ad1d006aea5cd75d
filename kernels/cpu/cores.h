// SPDX-License-Identifier: Apache-2.0
// How many threads have a core of their own.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

namespace tuyere::cpu {

/// The cores that this process may use, at least 1: those of its affinity mask, and no more than its control group's quota pays for. Found at the first call.
int usable_cores();

/// While one lives, loops that the calling thread opens, also those of oneDNN and PyTorch, have at most usable_cores() threads: two on one core would spin for
/// each other.
class CappedThreads {
 public:
  CappedThreads() noexcept : before_(omp_get_max_threads()), capped_(before_ > usable_cores()) {
    if (capped_) omp_set_num_threads(usable_cores());
  }
  ~CappedThreads() {
    if (capped_) omp_set_num_threads(before_);
  }
  CappedThreads(const CappedThreads&) = delete;
  CappedThreads& operator=(const CappedThreads&) = delete;

 private:
  int before_;
  bool capped_;
};

/// Cores that a quota of a control group pays for, rounded up; 0 where there is none. `text`: "<microseconds, -1 or max> <period>".
inline int cores_of_quota(const std::string& text) {
  std::istringstream words(text);
  double time = 0, period = 0;
  if (!(words >> time >> period) || time <= 0 || period <= 0) return 0;
  return static_cast<int>(std::clamp(std::ceil(time / period), 1.0, 1e6));
}

}  // namespace tuyere::cpu
