// SPDX-License-Identifier: Apache-2.0
// Generators of stable sorting and top-k along one axis. NaN counts as larger than everything.
#pragma once
#include "kernels/codegen/space.h"

namespace tuyere::codegen {

/// Tensors of `lines`: input, values, indices.
struct SortForm {
  Space lines;
  Dim length = 1, keep = 1;
  Dim in_stride = 0, value_stride = 0, index_stride = 0;
  bool descending = false, wide = false;
  DType dtype = DType::F32;
};
SortForm sort_form(const Problem& problem);
/// Elements that one block sorts in shared memory (a power of two), or 0 when the line is longer or its length is not constant.
int block_capacity(const SortForm& form);
/// One block per line: a bitonic network in shared memory.
Generated sort_block_kernels(const Problem& problem);
/// Lines of any length: sorted pieces, then merges through the workspace.
Generated sort_merge_kernels(const Problem& problem);

}  // namespace tuyere::codegen
