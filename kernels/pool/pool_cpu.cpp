// SPDX-License-Identifier: Apache-2.0
// own.adaptive_pool.reduce: pooling to one position per channel is a reduction.
#include <numeric>

#include "kernels/cpu/cpu_kernels.h"

namespace tuyere::cpu {
namespace {

std::unique_ptr<Executable> prepare_global_pool(const CpuProblem& p) {
  const auto& op = attrs<AdaptivePool>(p);
  Reduce reduce;
  reduce.kind = op.kind == PoolKind::max ? ReduceKind::max : ReduceKind::mean;
  reduce.axes.resize(op.out.size());
  std::iota(reduce.axes.begin(), reduce.axes.end(), static_cast<int64_t>(p.args.in[0].shape.size() - op.out.size()));
  reduce.keepdim = true;
  reduce.type = p.args.out[0].dtype;
  const Op as_reduce = reduce;
  return prepare_kernel("own.reduce.tile", CpuProblem{as_reduce, p.config, p.args});
}

}  // namespace

void add_pool_kernels(CpuKernelTable& table) { table.push_back({"own.adaptive_pool.reduce", prepare_global_pool}); }

}  // namespace tuyere::cpu
