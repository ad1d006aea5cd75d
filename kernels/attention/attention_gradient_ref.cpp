// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/attention/attention_heads.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

enum Slot : int { kDout, kQ, kK, kV, kOut, kLogsumexp, kMask };

struct RefAttentionGradient {
  std::vector<View> in, out;
  View mask;
  AttentionGradient op;

  RefAttentionGradient(const AttentionGradient& o, const CpuProblem& p) : op(o) {
    for (const TensorView& t : p.args.in) in.emplace_back(t);
    for (const TensorView& t : p.args.out) out.emplace_back(t);
    const Ix &q = in[kQ].shape, &k = in[kK].shape;
    if (op.has_mask) mask = in[kMask].broadcast_to(4, Ix{q[0], q[1], q[2], k[2]});
  }

  double dot(void* const* ptr, int a, Ix i, int b, Ix j) const {
    double sum = 0;
    for (i[3] = j[3] = 0; i[3] < in[a].shape[3]; ++i[3], ++j[3]) sum += in[a].load(ptr[a], i) * in[b].load(ptr[b], j);
    return sum;
  }

  /// exp(score - logsumexp) of a query and a key.
  double weight(void* const* ptr, const Ix& i, const Ix& j) const {
    if (op.causal && j[2] > i[2]) return 0;
    double score = op.scale * dot(ptr, kQ, i, kK, j);
    if (op.has_mask) {
      const double m = mask.load(ptr[kMask], {i[0], i[1], i[2], j[2]});
      score = mask.dtype == DType::Bool ? (m != 0 ? score : -INFINITY) : score + m;
    }
    const double total = in[kLogsumexp].load(ptr[kLogsumexp], i);
    return std::exp(score - (total == -INFINITY ? 0 : total));
  }

  void operator()(void* const* ptr) const {
    const Ix &q = in[kQ].shape, &k = in[kK].shape;
    const auto width = static_cast<size_t>(q[3]), depth = static_cast<size_t>(in[kV].shape[3]);
    for_each_index(2, q, [&](const Ix& head) {
      std::vector<double> dq(static_cast<size_t>(q[2]) * width), dk(static_cast<size_t>(k[2]) * width), dv(static_cast<size_t>(k[2]) * depth);
      for (int64_t a = 0; a < q[2]; ++a) {
        for (int64_t b = 0; b < k[2]; ++b) {
          const Ix i{head[0], head[1], a}, j{head[0], head[1], b};
          const double p = weight(ptr, i, j), ds = op.scale * p * (dot(ptr, kDout, i, kV, j) - dot(ptr, kDout, i, kOut, i));
          for (size_t d = 0; d < width; ++d) {
            const auto at = static_cast<int64_t>(d);
            dq[static_cast<size_t>(a) * width + d] += ds * in[kK].load(ptr[kK], {j[0], j[1], b, at});
            dk[static_cast<size_t>(b) * width + d] += ds * in[kQ].load(ptr[kQ], {i[0], i[1], a, at});
          }
          for (size_t d = 0; d < depth; ++d) dv[static_cast<size_t>(b) * depth + d] += p * in[kDout].load(ptr[kDout], {i[0], i[1], a, static_cast<int64_t>(d)});
        }
      }
      store(ptr, 0, head, dq);
      store(ptr, 1, head, dk);
      store(ptr, 2, head, dv);
    });
  }

  void store(void* const* ptr, size_t k, const Ix& head, const std::vector<double>& values) const {
    const View& to = out[k];
    size_t at = 0;
    for (int64_t r = 0; r < to.shape[2]; ++r) {
      for (int64_t d = 0; d < to.shape[3]; ++d) to.store(ptr[in.size() + k], {head[0], head[1], r, d}, values[at++]);
    }
  }
};

std::unique_ptr<Executable> prepare_gradient(const CpuProblem& p) { return executable(RefAttentionGradient(attrs<AttentionGradient>(p), p)); }

}  // namespace

void add_attention_gradient_references(CpuKernelTable& table) { table.push_back({"reference.attention_gradient", prepare_gradient}); }

}  // namespace tuyere::cpu
