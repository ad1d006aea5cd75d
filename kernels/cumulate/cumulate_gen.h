// SPDX-License-Identifier: Apache-2.0
// Generators of running sums and products.
#pragma once
#include <utility>

#include "kernels/codegen/row_writer.h"

namespace tuyere::codegen {

/// Number of lines and their length at the hint sizes.
std::pair<int64_t, int64_t> cumulate_extent(const Problem& problem);
/// ty threads per line, with `keep` accesses each per round.
Kernel cumulate_group_kernel(const Problem& problem, const RowPlan& plan);
/// For a warp per line, or a block when lines are few.
RowPlan cumulate_group_plan(const Problem& problem, const Target& target);
/// Whether the elements of a line are neighbours in memory, in the input and the output.
bool is_dense_cumulate(const Problem& problem);
/// A thread per line.
Kernel cumulate_line_kernel(const Problem& problem, const Target& target);

}  // namespace tuyere::codegen
