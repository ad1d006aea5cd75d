// SPDX-License-Identifier: Apache-2.0
// Generators of the indexing family.
#pragma once
#include "kernels/codegen/elementwise.h"

namespace tuyere::codegen {

/// Gather, GatherElements and Index as a copy from indirect positions.
Elementwise gather_elementwise(const Problem& problem);

/// ScatterElements and IndexPut in one form: for every source position the target is at `out` strides plus the indirections.
struct ScatterForm {
  std::vector<int> axes;             // axes of the target that are indexed
  std::vector<int> indexed_dims;     // dims of the source space that run over index entries of one target line
  Space space;                       // source space; strides: values, index tensors..., target (0 along the indexed dims)
  std::vector<int> index_positions;  // inputs that are index tensors
  int values_position = 0;
  ScatterKind kind = ScatterKind::set;
};
ScatterForm scatter_form(const Problem& problem);
/// Copies input 0 to output 0.
Kernel scatter_copy_kernel(const Problem& problem, const Target& target);
/// One thread per source element, in no order: for ScatterKind::set without repeated targets.
Kernel scatter_direct_kernel(const Problem& problem, const ScatterForm& form, const Target& target);
/// One thread per line of the target walks the index entries in order: deterministic, the last of equal targets wins for set.
Kernel scatter_line_kernel(const Problem& problem, const ScatterForm& form, const Target& target);
/// One thread per target element walks all index entries and takes those that name it: deterministic; reads input 0 itself.
Kernel scatter_owner_kernel(const Problem& problem, const ScatterForm& form, const Target& target);
/// For indices that are the same for all lines (IndexPut): a block per indexed place of the target looks for the entries that name it and takes them in order.
Kernel scatter_rows_kernel(const Problem& problem, const ScatterForm& form);

}  // namespace tuyere::codegen
