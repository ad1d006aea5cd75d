// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/attention/attention_heads.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

struct RefAttention {
  View q, k, v, out, mask, logsumexp;
  Attention op;
  int64_t share;  // query heads per key head
  std::vector<double> scores;

  RefAttention(const Attention& a, const CpuProblem& p) : q(p.args.in[0]), k(p.args.in[1]), v(p.args.in[2]), out(p.args.out[0]), op(a) {
    INTERNAL_CHECK(q.rank == 4 && k.rank == 4 && v.rank == 4, "attention needs rank 4");
    share = k.shape[1] ? q.shape[1] / k.shape[1] : 1;
    scores.resize(static_cast<size_t>(k.shape[2]));
    if (op.logsumexp) logsumexp = View(p.args.out[1]);
    if (op.has_mask) mask = View(p.args.in[3]).broadcast_to(4, Ix{mask_batches(View(p.args.in[3]), q), q.shape[1], q.shape[2], k.shape[2]});
  }

  double score(void* const* ptr, const Ix& row, int64_t j) const {
    if (op.causal && j > row[2]) return -INFINITY;
    double s = 0;
    for (int64_t d = 0; d < q.shape[3]; ++d) s += q.load(ptr[0], {row[0], row[1], row[2], d}) * k.load(ptr[1], {row[0], row[1] / share, j, d});
    s *= op.scale;
    if (!op.has_mask) return s;
    const double m = mask.load(ptr[3], {row[0] % mask.shape[0], row[1], row[2], j});
    return mask.dtype == DType::Bool ? (m != 0 ? s : -INFINITY) : s + m;
  }

  void operator()(void* const* ptr) {
    Ix rows = out.shape;
    rows[3] = 1;
    void* result = ptr[op.has_mask ? 4 : 3];
    for_each_index(4, rows, [&](const Ix& row) {
      double top = -1e300, sum = 0;  // finite: a row that is masked everywhere gives zeros, as in PyTorch
      for (int64_t j = 0; j < k.shape[2]; ++j) top = std::max(top, scores[j] = score(ptr, row, j));
      for (double& s : scores) sum += s = std::exp(s - top);
      for (int64_t d = 0; d < out.shape[3]; ++d) {
        double total = 0;
        for (int64_t j = 0; j < k.shape[2]; ++j) total += scores[j] / (sum == 0 ? 1 : sum) * v.load(ptr[2], {row[0], row[1] / share, j, d});
        out.store(result, {row[0], row[1], row[2], d}, total);
      }
      if (op.logsumexp) logsumexp.store(ptr[op.has_mask ? 5 : 4], {row[0], row[1], row[2]}, top + std::log(sum));
    });
  }
};

std::unique_ptr<Executable> prepare_attention(const CpuProblem& p) { return executable(RefAttention(attrs<Attention>(p), p)); }

}  // namespace

void add_attention_references(CpuKernelTable& table) {
  table.push_back({"reference.attention", prepare_attention});
  add_attention_gradient_references(table);
}

}  // namespace tuyere::cpu
