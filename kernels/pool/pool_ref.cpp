// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/pool/pool_windows.h"

namespace tuyere::cpu {
namespace {

// The window of one output position: start, end (exclusive) and step per spatial dim, already cut to the input, and the divisor of an average.
struct Window {
  Ix start{}, count{}, step{};
  double divisor = 1;
};

struct RefPool {
  View x, out;
  Pool op;
  int spatial;

  Window window(const Ix& o) const {
    Window w;
    int64_t padded = 1, inside = 1;
    for (int d = 0; d < spatial; ++d) {
      const int axis = x.rank - spatial + d;
      const int64_t size = x.shape[axis], dilation = op.dilation.empty() ? 1 : op.dilation[d], pad = op.pad.empty() ? 0 : op.pad[d];
      int64_t begin = o[axis] * op.stride[d] - pad;
      const int64_t end = begin + (op.kernel[d] - 1) * dilation + 1;
      padded *= std::min(end, size + pad) - begin;
      if (begin < 0) begin += (-begin + dilation - 1) / dilation * dilation;
      w.start[d] = begin;
      w.step[d] = dilation;
      w.count[d] = std::max<int64_t>(0, (std::min(end, size) - begin + dilation - 1) / dilation);
      inside *= w.count[d];
    }
    w.divisor = static_cast<double>(op.divisor ? op.divisor : op.count_include_pad ? padded : inside);
    return w;
  }
};

template <class GetWindow>
void pool_at(const View& x, const View& out, int spatial, bool max, const GetWindow& get, const void* in, void* result, int64_t* indices,
             const View* index_view) {
  const int lead = x.rank - spatial;
  for_each_index(out.rank, out.shape, [&](const Ix& o) {
    const Window w = get(o);
    double best = max ? -INFINITY : 0;
    int64_t at = -1;
    for_each_index(spatial, w.count, [&](const Ix& k) {
      Ix i = o;
      int64_t flat = 0;
      for (int d = 0; d < spatial; ++d) {
        i[lead + d] = w.start[d] + k[d] * w.step[d];
        flat = flat * x.shape[lead + d] + i[lead + d];
      }
      const double v = x.load(in, i);
      if (!max) {
        best += v;
      } else if (at < 0 || v > best || v != v) {
        best = v;
        at = flat;
      }
    });
    out.store(result, o, max ? best : best / w.divisor);
    if (indices) indices[index_view->offset(o)] = at;
  });
}

std::unique_ptr<Executable> prepare_pool(const CpuProblem& p) {
  const auto& op = attrs<Pool>(p);
  const RefPool pool{View(p.args.in[0]), View(p.args.out[0]), op, static_cast<int>(op.kernel.size())};
  const View indices = op.with_indices ? View(p.args.out[1]) : View();
  return executable([pool, indices](void* const* ptr) {
    pool_at(
        pool.x, pool.out, pool.spatial, pool.op.kind == PoolKind::max, [&](const Ix& o) { return pool.window(o); }, ptr[0], ptr[1],
        pool.op.with_indices ? static_cast<int64_t*>(ptr[2]) : nullptr, &indices);
  });
}

std::unique_ptr<Executable> prepare_adaptive_pool(const CpuProblem& p) {
  const auto& op = attrs<AdaptivePool>(p);
  const View x(p.args.in[0]), out(p.args.out[0]);
  const int spatial = static_cast<int>(op.out.size()), lead = x.rank - spatial;
  const bool max = op.kind == PoolKind::max;
  const bool with_indices = p.outputs() > 1;
  const View indices = with_indices ? View(p.args.out[1]) : View();
  return executable([=](void* const* ptr) {
    const auto window = [&](const Ix& o) {
      Window w;
      for (int d = 0; d < spatial; ++d) {
        const int64_t in = x.shape[lead + d], n = out.shape[lead + d], i = o[lead + d];
        w.start[d] = i * in / n;
        w.count[d] = ((i + 1) * in + n - 1) / n - w.start[d];
        w.step[d] = 1;
        w.divisor *= static_cast<double>(w.count[d]);
      }
      return w;
    };
    pool_at(x, out, spatial, max, window, ptr[0], ptr[1], with_indices ? static_cast<int64_t*>(ptr[2]) : nullptr, &indices);
  });
}

}  // namespace

void add_pool_references(CpuKernelTable& table) {
  table.push_back({"reference.pool", prepare_pool});
  table.push_back({"reference.adaptive_pool", prepare_adaptive_pool});
  add_pool_gradient_references(table);
}

}  // namespace tuyere::cpu
