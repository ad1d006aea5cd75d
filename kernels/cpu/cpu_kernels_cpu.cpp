// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_kernels.h"

namespace tuyere::cpu {

CpuKernelTable cpu_kernels() {
  CpuKernelTable table;
#define TUYERE_ADD(family) add_##family##_references(table);
  TUYERE_CPU_FAMILIES(TUYERE_ADD)
#undef TUYERE_ADD
  add_pointwise_kernels(table);
  return table;
}

}  // namespace tuyere::cpu
