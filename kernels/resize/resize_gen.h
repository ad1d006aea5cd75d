// SPDX-License-Identifier: Apache-2.0
// Generator of resizing.
#pragma once
#include "kernels/codegen/kernel.h"

namespace tuyere::codegen {

/// Every thread combines the taps of one output position, for several neighbouring channels where memory allows.
Kernel resize_kernel(const Problem& problem, const Target& target);

}  // namespace tuyere::codegen
