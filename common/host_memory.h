// SPDX-License-Identifier: Apache-2.0
// Memory of the host for tensors.
#pragma once
#include <cstddef>

namespace tuyere {

/// Memory aligned to 256 bytes, for std::free; nullptr when there is none. From 2 MiB on it is made of huge pages where the system has them: weights
/// are read once per call, in panels that are far apart, and with small pages that costs more in address translation than in arithmetic.
void* allocate_host(size_t bytes) noexcept;

}  // namespace tuyere
