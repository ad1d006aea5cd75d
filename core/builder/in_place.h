// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/builder/placement.h"

namespace tuyere {

/// Lets Pointwise outputs take over the memory of an input that dies there, and drops the buffers that fall away.
/// Safe because such a kernel reads every element of that input before it writes the same element, and no other.
void share_in_place(const Network& network, int body, Placement& placement);

}  // namespace tuyere
