// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine/prepared.h"

namespace tuyere {

/// Dense row-major copies of the observed tensors as the last run left them, by name. Inputs and outputs must still be there. api: GPU plans.
Result<std::vector<std::pair<std::string, std::vector<std::byte>>>> copy_observed(const Prepared& prepared, DeviceApi* api);

}  // namespace tuyere
