// SPDX-License-Identifier: Apache-2.0
// Generators of windowed pooling.
#pragma once
#include "kernels/codegen/kernel.h"

namespace tuyere::codegen {

/// Pool and AdaptivePool: every thread walks the window of one output position, for several neighbouring channels where memory allows.
Kernel pool_kernel(const Problem& problem, const Target& target);
/// Every output position covers the whole input: a reduction.
bool is_global_pool(const Problem& problem);

}  // namespace tuyere::codegen
