// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_kernels.h"

#include "kernels/conv/conv_kernels.h"
#include "kernels/matmul/matmul_kernels.h"
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {

CpuKernelTable cpu_kernels() {
  CpuKernelTable table;
#define TUYERE_ADD(family) add_##family##_references(table);
  TUYERE_CPU_FAMILIES(TUYERE_ADD)
#undef TUYERE_ADD
  add_pointwise_kernels(table);
  add_reduce_kernels(table);
  add_softmax_kernels(table);
  add_norm_kernels(table);
  add_attention_kernels(table);
  add_layout_kernels(table);
  add_gather_kernels(table);
  add_resize_kernels(table);
  add_conv_kernels(table);
  add_matmul_kernels(table);
  add_matmul_rows(table);
  add_pool_kernels(table);
  add_arg_reduce_kernels(table);
  add_cumulate_kernels(table);
  add_sort_kernels(table);
  add_onednn_kernels(table);
  return table;
}

std::unique_ptr<Executable> prepare_kernel(std::string_view name, const CpuProblem& p) {
  static const CpuKernelTable table = cpu_kernels();
  for (const CpuKernel& k : table) {
    if (k.name == name) return k.prepare(p);
  }
  INTERNAL_CHECK(false, "no CPU kernel '" << name << "'");
}

}  // namespace tuyere::cpu
