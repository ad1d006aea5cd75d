// SPDX-License-Identifier: Apache-2.0
// Checks callers' tensors against a body and finds the values of its symbols.
#pragma once
#include <span>

#include "kernels/run/host_table.h"
#include "runtime/plan/sizes.h"

namespace tuyere {

/// What a body expects of one input or output, for concrete sizes.
struct IoSlot {
  TensorView view;
  int64_t extent = 0;           // bytes that the view spans
  int64_t alignment = 1;        // of its address
  bool bound_by_caller = true;  // false: an output that aliases an input
};

/// Whether a caller's tensor has the type, shape, strides and device that `slot` expects. No allocation.
bool fits(const TensorRef& ref, const IoSlot& slot, int device) noexcept;
/// Whether its address is there and aligned.
bool good_address(const TensorRef& ref, const IoSlot& slot) noexcept;
/// The reason why it does not fit: InvalidArgument that names the tensor ("input 'x' ..."). Ok when it fits.
Status explain(const TensorRef& ref, const IoSlot& slot, int device, const std::string& what);

/// The same for its address.
Status explain_address(const TensorRef& ref, const IoSlot& slot, const std::string& what);

/// Values of the body's symbols from the shapes of the inputs, after checking count, dtype, rank and device. Symbol ranges are enforced.
Result<Symbols> solve_symbols(const PlanBody& body, std::span<const TensorRef> inputs, int device);
/// Every input's shape against the evaluated sizes.
Status check_shapes(const PlanBody& body, const BodySizes& sizes, const Symbols& symbols, std::span<const TensorRef> inputs);

IoSlot make_slot(const PlanIo& io, const BodySizes& sizes, int device);

}  // namespace tuyere
