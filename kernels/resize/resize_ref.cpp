// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"
#include "kernels/resize/resize_taps.h"

namespace tuyere::cpu {
namespace {

std::unique_ptr<Executable> prepare_resize(const CpuProblem& p) {
  const auto& op = attrs<Resize>(p);
  const View x(p.args.in[0]), out(p.args.out[0]);
  const int spatial = static_cast<int>(op.size.size()), lead = x.rank - spatial;
  std::vector<std::vector<Taps>> taps(spatial);
  for (int d = 0; d < spatial; ++d) {
    const double scale = op.scales.empty() ? 0 : op.scales[d];
    for (int64_t o = 0; o < out.shape[lead + d]; ++o) {
      const auto make = x.dtype == DType::F64 ? resize_taps<double> : resize_taps<float>;
      taps[d].push_back(make(op.mode, op.align_corners, scale, x.shape[lead + d], out.shape[lead + d], o));
    }
  }
  return executable([=](void* const* ptr) {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix counts{}, i = o;
      for (int d = 0; d < spatial; ++d) counts[d] = taps[d][o[lead + d]].count;
      double sum = 0;
      for_each_index(spatial, counts, [&](const Ix& k) {
        double weight = 1;
        for (int d = 0; d < spatial; ++d) {
          const Taps& t = taps[d][o[lead + d]];
          weight *= t.weight[k[d]];
          i[lead + d] = t.at[k[d]];
        }
        sum += weight * x.load(ptr[0], i);
      });
      out.store(ptr[1], o, sum);
    });
  });
}

}  // namespace

void add_resize_references(CpuKernelTable& table) { table.push_back({"reference.resize", prepare_resize}); }

}  // namespace tuyere::cpu
