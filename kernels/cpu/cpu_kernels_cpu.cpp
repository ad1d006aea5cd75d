// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_kernels.h"

#include <cstdlib>
#include <cstring>

#include "common/host_memory.h"
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
  add_recurrent_kernels(table);
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
  add_fill_kernels(table);
  add_sort_kernels(table);
  add_onednn_kernels(table);
  return table;
}

std::shared_ptr<void> host_memory(size_t bytes) {
  std::shared_ptr<void> memory(allocate_host(bytes), std::free);
  INTERNAL_CHECK(memory != nullptr, "out of memory: " << bytes << " bytes");
  std::memset(memory.get(), 0, bytes);
  return memory;
}

std::shared_ptr<void> packed_constant(const CpuProblem& p, size_t k, const std::string& layout, const std::function<std::shared_ptr<void>()>& make) {
  const bool named = p.args.store && p.args.constant_keys.size() > k && !p.args.constant_keys[k].empty();
  return named ? p.args.store->packed(p.args.constant_keys[k] + layout, make) : make();
}

namespace {

const CpuKernel& kernel_named(std::string_view name) {
  static const CpuKernelTable table = cpu_kernels();
  for (const CpuKernel& k : table) {
    if (k.name == name) return k;
  }
  INTERNAL_CHECK(false, "no CPU kernel '" << name << "'");
}

}  // namespace

std::unique_ptr<Executable> prepare_kernel(std::string_view name, const CpuProblem& p) { return kernel_named(name).prepare(p); }

int64_t kernel_workspace(std::string_view name, const CpuProblem& p) {
  const CpuKernel& kernel = kernel_named(name);
  return kernel.workspace ? kernel.workspace(p) : 0;
}

}  // namespace tuyere::cpu
