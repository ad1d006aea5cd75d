// SPDX-License-Identifier: Apache-2.0
// Compiled kernels by what they were compiled from: a map in memory over files in cache_dir()/kernels.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kernels/api/step.h"

namespace tuyere {

/// The cached bytes of `key` (the full text that determines them), or those of `make`, which are then stored. Threads that ask
/// for a key while another makes it wait. Files are written atomically and verified against the whole key; I/O failures are not errors.
Bytes cached_cubin(const std::string& key, const std::function<std::vector<std::byte>()>& make);

}  // namespace tuyere
