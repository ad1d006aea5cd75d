// SPDX-License-Identifier: Apache-2.0
// Generators of running sums and products.
#pragma once
#include <utility>

#include "kernels/codegen/kernel.h"

namespace tuyere::codegen {

/// Number of lines and their length at the hint sizes.
std::pair<int64_t, int64_t> cumulate_extent(const Problem& problem);
/// A block per line: scans of 1024 elements that carry on.
Kernel cumulate_block_kernel(const Problem& problem);
/// A thread per line.
Kernel cumulate_line_kernel(const Problem& problem, const Target& target);

}  // namespace tuyere::codegen
