// SPDX-License-Identifier: Apache-2.0
// Index arguments, shared by the rows that read and that write by index.
#pragma once
#include "converters/convert.h"

namespace tuyere {

struct Indices {
  std::vector<int64_t> axes;      // the indexed dimensions, ascending
  std::vector<TensorId> tensors;  // i32 or i64, one per axis
  /// Empty when the axes are consecutive; otherwise the permutation that moves them to the front, which is where PyTorch puts the result.
  std::vector<int64_t> to_front(int64_t rank) const;
};
/// The argument "indices": a list of tensors and None. Masks are an Error{User}.
Indices read_indices(Convert& c);
/// An index tensor as i32 or i64.
TensorId as_index(Convert& c, TensorId index);
/// start, start+1, ... as i64.
TensorId along(Convert& c, int64_t start, const Dim& count);

}  // namespace tuyere
