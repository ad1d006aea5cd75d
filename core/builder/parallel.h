// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>

namespace tuyere {

/// Calls work(0) .. work(count - 1) on up to `threads` threads (0: all cores); rethrows the first exception when all have finished.
void parallel_for(int count, int threads, const std::function<void(int)>& work);

}  // namespace tuyere
