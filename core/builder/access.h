// SPDX-License-Identifier: Apache-2.0
// The trait table: what every operator accepts as the memory of its inputs and outputs.
#pragma once
#include "core/builder/strides.h"

namespace tuyere {

enum class Access {
  any,        // any strides, 0 included
  matrix,     // one of the last two dims has stride 1 and the other does not repeat; any batch strides
  inner,      // the last dim has stride 1
  image,      // dense in the order the tensor's layout says, or dense channels-last
  pixels,     // that, or whole vectors of the channels of a larger channels-last image
  row_major,  // dense row-major
  shape,      // the values are not read: one that repeats, or dense row-major
};

/// What input `slot` of `op` needs; kernels for GPUs take more.
Access access(const Op& op, int slot, bool on_gpu);
/// Whether memory serves that has these strides and starts so many elements behind an aligned address.
bool satisfies(Access access, const TensorType& type, const std::vector<Dim>& strides, const Dim& offset);
/// Whether all kernels of `op` but closed libraries can write a slice of a larger tensor.
bool writes_slices(const Op& op);
/// Whether `op`'s kernels want input and output in the same memory order.
bool keeps_order(const Op& op);

}  // namespace tuyere
