// SPDX-License-Identifier: Apache-2.0
// Views in the terms of oneDNN.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cpu/views.h"

namespace tuyere::cpu {

inline std::vector<int64_t> dims_of(const View& v) { return {v.shape.begin(), v.shape.begin() + v.rank}; }
inline std::vector<int64_t> strides_of(const View& v) { return {v.strides.begin(), v.strides.begin() + v.rank}; }
/// Bytes of a part of the workspace, so that the next one is aligned.
inline int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace tuyere::cpu
