// SPDX-License-Identifier: Apache-2.0
// Generators of the data movement family: views made real, concatenation, padding.
#pragma once
#include <optional>

#include "kernels/codegen/elementwise.h"

namespace tuyere::codegen {

/// Strides under which `desc` can be read as `shape` (same number of elements, row-major order), if there are any.
std::optional<std::vector<Dim>> reshaped_strides(const TensorDesc& desc, const Shape& shape);
/// Reshape, Permute, Expand, Slice and Flip as a strided copy; nothing for a reshape that no strides express.
std::optional<Elementwise> view_elementwise(const Problem& problem);
bool is_view_or_flip(const Op& op);
/// Any reshape: both shapes' coordinates from the linear index.
Kernel reshape_kernel(const Problem& problem, const Target& target);
Generated concat_kernels(const Problem& problem, const Target& target);
Kernel pad_kernel(const Problem& problem, const Target& target);

}  // namespace tuyere::codegen
