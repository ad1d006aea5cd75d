// SPDX-License-Identifier: Apache-2.0
// Iteration spaces: the dims a kernel runs over and where each tensor's elements lie along them.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/problem.h"
#include "kernels/codegen/kernel.h"

namespace tuyere::codegen {

/// Dims outermost first; strides[t][d] in elements, 0 where tensor t is broadcast.
struct Space {
  std::vector<Dim> size;
  std::vector<std::vector<Dim>> strides;
  int rank() const { return static_cast<int>(size.size()); }
};

/// How a thread reads a tensor along its vector: at once, one element for all, or element by element.
enum class Mode { vector, broadcast, strided };

/// A tensor of the step as a kernel sees it. Strides along the space are in Space.
struct Operand {
  int position = 0;  // in the step's pointer list
  DType dtype = DType::F32;
  Dim offset = 0;       // elements from the tensor's first
  int alignment = 256;  // bytes, of the element at `offset`
};
Operand operand(const TensorDesc& desc, int position, const Dim& offset = 0);

/// Strides of `desc` over `shape` by NumPy broadcasting.
std::vector<Dim> broadcast_strides(const TensorDesc& desc, const Shape& shape);
Space make_space(const Shape& shape, const std::vector<std::vector<Dim>>& strides);
/// Removes dims of size 1, sorts by decreasing stride (at the hints) of tensor `by`, then the others; then joins neighbouring dims that every tensor runs
/// through with one stride.
void normalize(Space& space, int by, const Symbols& hints);
void drop_unit_dims(Space& space);
void sort_dims(Space& space, int by, const Symbols& hints);
void collapse(Space& space);
/// The dims `dims` of the space only.
Space select(const Space& space, const std::vector<int>& dims);

/// d is a multiple of `by` whatever its symbols.
bool divisible(const Dim& d, int by);
/// Largest power of two that surely divides d, at most `limit`.
int known_divisor(const Dim& d, int limit);
/// Sizes and strides that 32-bit indices may not hold: always when symbolic.
bool needs_wide(const std::vector<const Space*>& spaces);
int64_t hint(const Dim& d, const Symbols& hints);

/// Appends declarations of <prefix>0.. (idx), the coordinates of linear index `linear`; returns their names.
std::vector<std::string> split(Kernel& kernel, std::string& code, const std::string& linear, const std::vector<Dim>& size, const std::string& prefix);
/// Sum of coordinate * stride: an expression of idx.
std::string offset(Kernel& kernel, const std::vector<Dim>& strides, const std::vector<std::string>& coords);
/// Pointer parameter of an operand.
std::string pointer(Kernel& kernel, const Operand& op, bool writes);

}  // namespace tuyere::codegen
