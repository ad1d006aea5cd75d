// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

std::unique_ptr<Executable> prepare_softmax(const CpuProblem& p) {
  const auto& op = attrs<Softmax>(p);
  RefPrologue x(op.prologue, p);
  const View out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, out.rank);
  View rows = out;
  const int64_t cols = out.rank ? out.shape[axis] : 1;
  if (out.rank) rows.shape[axis] = std::min<int64_t>(cols, 1);
  std::vector<double> values(static_cast<size_t>(cols));
  return executable([x, out, rows, axis, cols, log = op.log, values, slot = p.inputs()](void* const* ptr) mutable {
    for_each_index(rows.rank, rows.shape, [&](const Ix& row) {
      Ix i = row;
      double top = -INFINITY, sum = 0;
      for (int64_t c = 0; c < cols; ++c) {
        i[axis] = c;
        values[c] = x.at(ptr, i)[0];
        top = std::max(top, values[c]);
      }
      for (int64_t c = 0; c < cols; ++c) sum += std::exp(values[c] - top);
      for (int64_t c = 0; c < cols; ++c) {
        i[axis] = c;
        out.store(ptr[slot], i, log ? values[c] - top - std::log(sum) : std::exp(values[c] - top) / sum);
      }
    });
  });
}

}  // namespace

void add_softmax_references(CpuKernelTable& table) { table.push_back({"reference.softmax", prepare_softmax}); }

}  // namespace tuyere::cpu
