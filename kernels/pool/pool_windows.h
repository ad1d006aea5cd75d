// SPDX-License-Identifier: Apache-2.0
// The windows of a pooling, as lists per spatial dim.
#pragma once
#include <algorithm>
#include <vector>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"

namespace tuyere::cpu {

/// Where the outputs of one spatial dim read, cut to the input; `share` is the dim's factor of an average's divisor.
struct Windows {
  struct Entry {
    int64_t start, count;
    double share;
  };
  std::vector<Entry> entries;
  int64_t step = 1;
  int64_t widest() const {
    int64_t most = 0;
    for (const Entry& e : entries) most = std::max(most, e.count);
    return most;
  }
};

struct PoolWindows {
  PoolKind kind = PoolKind::max;
  double divisor = 0;  // 0: the product of the shares
  std::vector<Windows> dims;
};

inline PoolWindows windows_of(const Pool& op, const View& x, const View& out) {
  PoolWindows w{op.kind, static_cast<double>(op.divisor), {}};
  const int spatial = static_cast<int>(op.kernel.size());
  for (int d = 0; d < spatial; ++d) {
    Windows& list = w.dims.emplace_back();
    const int axis = x.rank - spatial + d;
    const int64_t size = x.shape[axis], pad = op.pad.empty() ? 0 : op.pad[d];
    list.step = op.dilation.empty() ? 1 : op.dilation[d];
    for (int64_t o = 0; o < out.shape[axis]; ++o) {
      int64_t begin = o * op.stride[d] - pad;
      const int64_t end = begin + (op.kernel[d] - 1) * list.step + 1, padded = std::min(end, size + pad) - begin;
      if (begin < 0) begin += (-begin + list.step - 1) / list.step * list.step;
      const int64_t count = std::max<int64_t>(0, (std::min(end, size) - begin + list.step - 1) / list.step);
      list.entries.push_back({begin, count, static_cast<double>(op.count_include_pad ? padded : count)});
    }
  }
  return w;
}

inline PoolWindows windows_of(const AdaptivePool& op, const View& x, const View& out) {
  PoolWindows w{op.kind, 0, {}};
  const int spatial = static_cast<int>(op.out.size());
  for (int d = 0; d < spatial; ++d) {
    Windows& list = w.dims.emplace_back();
    const int64_t in = x.shape[x.rank - spatial + d], n = out.shape[x.rank - spatial + d];
    for (int64_t i = 0; i < n; ++i) {
      const int64_t start = i * in / n, count = ((i + 1) * in + n - 1) / n - start;
      list.entries.push_back({start, count, static_cast<double>(count)});
    }
  }
  return w;
}

/// Those of the pooling of x to out.
inline PoolWindows windows_of(const PoolGradient& op, const View& x, const View& out) {
  if (op.kernel.empty()) return windows_of(AdaptivePool{.kind = op.kind, .out = std::vector<int64_t>(op.size.size())}, x, out);
  Pool pool{.kind = op.kind, .kernel = op.kernel, .stride = op.stride, .pad = op.pad};
  pool.count_include_pad = op.count_include_pad;
  pool.divisor = op.divisor;
  return windows_of(pool, x, out);
}

/// The gradients of poolings.
void add_pool_gradient_kernels(CpuKernelTable& table);
void add_pool_gradient_references(CpuKernelTable& table);

}  // namespace tuyere::cpu
