// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/attention/attention_heads.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

struct RefAttentionGradient {
  std::vector<View> in, out;
  View mask;
  AttentionGradient op;

  RefAttentionGradient(const AttentionGradient& o, const CpuProblem& p) : op(o) {
    for (const TensorView& t : p.args.in) in.emplace_back(t);
    for (const TensorView& t : p.args.out) out.emplace_back(t);
    const Ix &q = in[GradientInput::q].shape, &k = in[GradientInput::k].shape;
    if (op.has_mask) mask = in[GradientInput::mask].broadcast_to(4, Ix{q[0], q[1], q[2], k[2]});
  }

  double dot(void* const* ptr, int a, Ix i, int b, Ix j) const {
    double sum = 0;
    for (i[3] = j[3] = 0; i[3] < in[a].shape[3]; ++i[3], ++j[3]) sum += in[a].load(ptr[a], i) * in[b].load(ptr[b], j);
    return sum;
  }

  /// exp(score - logsumexp) of a query and a key.
  double weight(void* const* ptr, const Ix& i, const Ix& j) const {
    if (op.causal && j[2] > i[2]) return 0;
    double score = op.scale * dot(ptr, GradientInput::q, i, GradientInput::k, j);
    if (op.has_mask) {
      const double m = mask.load(ptr[GradientInput::mask], {i[0], i[1], i[2], j[2]});
      score = mask.dtype == DType::Bool ? (m != 0 ? score : -INFINITY) : score + m;
    }
    const double total = in[GradientInput::logsumexp].load(ptr[GradientInput::logsumexp], i);
    return std::exp(score - (total == -INFINITY ? 0 : total));
  }

  void operator()(void* const* ptr) const {
    const Ix &q = in[GradientInput::q].shape, &k = in[GradientInput::k].shape;
    const auto width = static_cast<size_t>(q[3]), depth = static_cast<size_t>(in[GradientInput::v].shape[3]);
    for_each_index(2, q, [&](const Ix& head) {
      std::vector<double> dq(static_cast<size_t>(q[2]) * width), dk(static_cast<size_t>(k[2]) * width), dv(static_cast<size_t>(k[2]) * depth);
      for (int64_t a = 0; a < q[2]; ++a) {
        for (int64_t b = 0; b < k[2]; ++b) {
          const Ix i{head[0], head[1], a}, j{head[0], head[1], b};
          const double p = weight(ptr, i, j),
                       ds = op.scale * p * (dot(ptr, GradientInput::dout, i, GradientInput::v, j) - dot(ptr, GradientInput::dout, i, GradientInput::out, i));
          for (size_t d = 0; d < width; ++d) {
            const auto at = static_cast<int64_t>(d);
            dq[static_cast<size_t>(a) * width + d] += ds * in[GradientInput::k].load(ptr[GradientInput::k], {j[0], j[1], b, at});
            dk[static_cast<size_t>(b) * width + d] += ds * in[GradientInput::q].load(ptr[GradientInput::q], {i[0], i[1], a, at});
          }
          for (size_t d = 0; d < depth; ++d)
            dv[static_cast<size_t>(b) * depth + d] += p * in[GradientInput::dout].load(ptr[GradientInput::dout], {i[0], i[1], a, static_cast<int64_t>(d)});
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

std::unique_ptr<Executable> prepare_attention_gradient(const CpuProblem& p) { return executable(RefAttentionGradient(attrs<AttentionGradient>(p), p)); }

}  // namespace

void add_attention_gradient_references(CpuKernelTable& table) { table.push_back({"reference.attention_gradient", prepare_attention_gradient}); }

}  // namespace tuyere::cpu
