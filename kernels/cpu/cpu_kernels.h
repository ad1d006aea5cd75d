// SPDX-License-Identifier: Apache-2.0
// The table of all CPU kernels.
#pragma once
#include "kernels/cpu/cpu_kernel.h"

namespace tuyere::cpu {
CpuKernelTable cpu_kernels();
}  // namespace tuyere::cpu
