// SPDX-License-Identifier: Apache-2.0
// Stride algebra on symbolic sizes: dense memory orders and what Reshape, Permute, Expand and Slice make of strides.
#pragma once
#include <optional>
#include <vector>

#include "core/network/network.h"

namespace tuyere {

/// A window on a buffer, in elements.
struct View {
  std::vector<Dim> strides;
  Dim offset;
};

/// Strides of dense memory of `shape` in `layout` (the innermost dimension padded as the layout says). INTERNAL_CHECKs vector_width == 1.
std::vector<Dim> layout_strides(const Shape& shape, const Layout& layout);
/// Elements of that memory, padding included.
Dim layout_elements(const Shape& shape, const Layout& layout);
/// Equal where it matters: strides of dims of size 1 are never used.
bool same_strides(const Shape& shape, const std::vector<Dim>& a, const std::vector<Dim>& b);

/// Strides of `to` over the same elements in the same row-major sequence, or none when that needs a copy (or cannot be proven for symbolic sizes).
std::optional<std::vector<Dim>> reshape_strides(const Shape& from, const std::vector<Dim>& strides, const Shape& to);
/// The window of a view layer's output; none: the input must be made row-major first.
std::optional<View> view_of(const Op& op, const Shape& in, const View& input, const Shape& out);
/// The view of its input that gives a Permute or Reshape this output; nothing when no strides do.
std::optional<View> view_before(const Op& op, const Shape& in, const View& output, const Shape& out);

}  // namespace tuyere
