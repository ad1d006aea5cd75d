// SPDX-License-Identifier: Apache-2.0
// Strides of the capture as memory orders.
#pragma once
#include <optional>
#include <vector>

#include "common/dim.h"

namespace tuyere {

/// Dimensions from the outermost to the innermost in memory, for strides that cover memory densely; none when they do not. The first of `preferred` that
/// fits wins (an empty order is row-major): dimensions of size 1 fit everywhere.
std::optional<std::vector<int>> memory_order(const Shape& sizes, const std::vector<Dim>& strides, const std::vector<std::vector<int>>& preferred = {{}});

/// Dimensions by falling strides. Those of size 1 count: one with the stride of another lies inside of it.
std::vector<int> order_of_strides(const Shape& sizes, const std::vector<Dim>& strides);

}  // namespace tuyere
