// SPDX-License-Identifier: Apache-2.0
// Convolutions over channels in blocks, as CPUs like them: x is [N, C/b, spatial..., b] and the weight is [O/b, C/groups, kernel..., b]; either may be
// plain instead, and the output is in blocks when the weight is. In memory the blocks are ordinary dims, so that pointwise layers, reductions and
// concatenation need not know them. Ranks tell the forms apart: the attribute lists, complete and as long as the spatial dims, are the measure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/api/ops.h"

namespace tuyere {

/// The number of spatial dims, given the rank of the weight.
inline size_t conv_spatial(const Conv& op, size_t weight_rank) {
  const size_t listed = op.stride.size();
  const bool complete = listed > 0 && op.pad_before.size() == listed && op.pad_after.size() == listed && op.dilation.size() == listed;
  return complete && weight_rank == listed + 3 ? listed : weight_rank - 2;
}
/// Whether a tensor of this rank has its channels in blocks.
inline bool in_blocks(size_t rank, size_t spatial) { return rank == spatial + 3; }

/// The two convolutions of an ExpandedDepthwise; `type`: of the image between them, which has `channels` channels. The first one reads the inputs 0, 1 and
/// `expansion_extras` from 3 on, the other one the image, input 2 and the rest.
inline size_t expansion_extras(const ExpandedDepthwise& op) { return op.expansion.inputs.empty() ? 0 : op.expansion.inputs.size() - 1; }
inline Conv expansion_of(const ExpandedDepthwise& op, DType type) {
  const std::vector<int64_t> ones(op.stride.size(), 1), zeros(op.stride.size(), 0);
  return {.stride = ones, .pad_before = zeros, .pad_after = zeros, .dilation = ones, .type = type, .epilogue = op.expansion};
}
inline Conv window_of(const ExpandedDepthwise& op, int64_t channels) {
  return {.stride = op.stride,
          .pad_before = op.pad_before,
          .pad_after = op.pad_after,
          .dilation = op.dilation,
          .groups = channels,
          .type = op.type,
          .epilogue = op.epilogue};
}

}  // namespace tuyere
