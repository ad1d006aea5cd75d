// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

std::unique_ptr<Executable> prepare_cumulate(const CpuProblem& p) {
  const auto& op = attrs<Cumulate>(p);
  const View x(p.args.in[0]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, x.rank);
  View lines = x;
  const int64_t length = x.rank ? x.shape[axis] : 1;
  if (x.rank) lines.shape[axis] = std::min<int64_t>(1, length);
  return executable([=, product_of = op.kind == CumKind::prod](void* const* ptr) {
    for_each_index(lines.rank, lines.shape, [&](const Ix& line) {
      Ix i = line;
      double total = product_of;
      for (int64_t j = 0; j < length; ++j) {
        i[axis] = j;
        const double v = x.load(ptr[0], i);
        total = product_of ? total * v : total + v;
        out.store(ptr[1], i, total);
      }
    });
  });
}

}  // namespace

void add_cumulate_references(CpuKernelTable& table) { table.push_back({"reference.cumulate", prepare_cumulate}); }

}  // namespace tuyere::cpu
