// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

int64_t evaluate_dim(const Dim& dim, const CpuProblem& p) { return p.args.symbols ? dim.eval(*p.args.symbols) : dim.value(); }

void store_integer(const View& out, void* data, const Ix& i, int64_t value) {
  if (out.dtype == DType::I64) {
    static_cast<int64_t*>(data)[out.offset(i)] = value;
  } else {
    out.store(data, i, static_cast<double>(value));
  }
}

std::unique_ptr<Executable> prepare_iota(const CpuProblem& p) {
  const auto& op = attrs<Iota>(p);
  const View out(p.args.out[0]);
  const int64_t start = evaluate_dim(op.start, p), step = evaluate_dim(op.step, p);
  return executable([=](void* const* ptr) { for_each_index(out.rank, out.shape, [&](const Ix& i) { store_integer(out, ptr[0], i, start + step * i[0]); }); });
}

std::unique_ptr<Executable> prepare_fill(const CpuProblem& p) {
  const auto& op = attrs<Fill>(p);
  const View out(p.args.out[0]);
  const int64_t size = op.use_dim ? evaluate_dim(op.dim, p) : 0;
  return executable([=, value = op.value, use_dim = op.use_dim](void* const* ptr) {
    for_each_index(out.rank, out.shape, [&](const Ix& i) {
      if (use_dim) {
        store_integer(out, ptr[0], i, size);
      } else {
        out.store(ptr[0], i, value);
      }
    });
  });
}

}  // namespace

void add_fill_references(CpuKernelTable& table) {
  table.push_back({"reference.iota", prepare_iota});
  table.push_back({"reference.fill", prepare_fill});
}

}  // namespace tuyere::cpu
