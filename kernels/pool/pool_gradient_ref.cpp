// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"
#include "kernels/pool/pool_windows.h"

namespace tuyere::cpu {
namespace {

struct RefPoolGradient {
  View dx, dy, indices;
  PoolGradient op;
  PoolWindows windows;
  int spatial, lead;

  RefPoolGradient(const PoolGradient& o, const CpuProblem& p)
      : dx(p.args.out[0]), dy(p.args.in[0]), op(o), windows(windows_of(o, dx, dy)), spatial(static_cast<int>(o.size.size())), lead(dx.rank - spatial) {
    if (op.kind == PoolKind::max) indices = View(p.args.in[1]);
  }

  /// What the position `o` of dy gives to the pixel `i` of dx.
  double share(void* const* ptr, const Ix& o, const Ix& i) const {
    if (op.kind == PoolKind::max) {
      int64_t flat = 0;
      for (int d = lead; d < dx.rank; ++d) flat = flat * dx.shape[d] + i[d];
      return load_index(DType::I64, ptr[1], indices.offset(o)) == flat ? 1 : 0;
    }
    double divisor = 1;
    for (int d = 0; d < spatial; ++d) {
      const Windows::Entry& e = windows.dims[static_cast<size_t>(d)].entries[static_cast<size_t>(o[lead + d])];
      if (i[lead + d] < e.start || i[lead + d] >= e.start + e.count) return 0;
      divisor *= e.share;
    }
    return 1 / (windows.divisor != 0 ? windows.divisor : divisor);
  }

  void operator()(void* const* ptr) const {
    Ix positions = dy.shape;
    for (int d = 0; d < lead; ++d) positions[d] = 1;
    for_each_index(dx.rank, dx.shape, [&](const Ix& i) {
      double sum = 0;
      for_each_index(dx.rank, positions, [&](const Ix& p) {
        Ix o = p;
        for (int d = 0; d < lead; ++d) o[d] = i[d];
        sum += share(ptr, o, i) * dy.load(ptr[0], o);
      });
      dx.store(ptr[op.kind == PoolKind::max ? 2 : 1], i, sum);
    });
  }
};

std::unique_ptr<Executable> prepare_ref_pool_gradient(const CpuProblem& p) { return executable(RefPoolGradient(attrs<PoolGradient>(p), p)); }

}  // namespace

void add_pool_gradient_references(CpuKernelTable& table) { table.push_back({"reference.pool_gradient", prepare_ref_pool_gradient}); }

}  // namespace tuyere::cpu
