// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cpu/cpu_kernel.h"

namespace tuyere::cpu {

/// Adds own.conv.direct.
void add_conv_kernels(CpuKernelTable& table);

}  // namespace tuyere::cpu
