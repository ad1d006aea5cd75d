// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "tests/unit/codegen_mma/harness.h"

namespace tuyere::testing {
namespace {

double product_tolerance(const Problem& p, int64_t terms) {
  const DType type = p.in[0].dtype;
  if (type == DType::F64) return 1e-12 * terms;
  if (!is_float(type)) return 0;
  bool tf32 = std::holds_alternative<MatMul>(p.op) ? std::get<MatMul>(p.op).tf32 : std::holds_alternative<Conv>(p.op) && std::get<Conv>(p.op).tf32;
  return (type == DType::F32 && tf32 ? 1e-3 : 2e-6) * (4 + std::sqrt(double(terms)));
}

/// The batch part of an output index as an index of an operand, then two more.
std::vector<int64_t> operand_index(const Tensor& t, const std::vector<int64_t>& i, int64_t row, int64_t column) {
  std::vector<int64_t> at(t.shape.size());
  const size_t batch = t.shape.size() - 2;
  for (size_t d = 0; d < batch; ++d) at[d] = t.shape[d] == 1 ? 0 : i[i.size() - 2 - batch + d];
  at[batch] = row, at[batch + 1] = column;
  return at;
}

}  // namespace

std::string check_matmul(const Problem& p, const mma::KernelSource& source) {
  const MatMul& op = std::get<MatMul>(p.op);
  Tensors t(p, p.hints, 7);
  emulate(source, p, t);
  Tensor &a = t.in[0], &b = t.in[1];
  const size_t r = a.shape.size();
  const int64_t depth = op.trans_a ? a.shape[r - 2] : a.shape[r - 1];
  return compare(t, op.epilogue, 2, product_tolerance(p, depth), [&](const std::vector<int64_t>& i) {
    const int64_t m = i[i.size() - 2], n = i[i.size() - 1];
    double sum = 0;
    for (int64_t k = 0; k < depth; ++k)
      sum += a.get(operand_index(a, i, op.trans_a ? k : m, op.trans_a ? m : k)) * b.get(operand_index(b, i, op.trans_b ? n : k, op.trans_b ? k : n));
    return sum;
  });
}

std::string check_gated_matmul(const Problem& p, const mma::KernelSource& source) {
  const GatedMatMul& op = std::get<GatedMatMul>(p.op);
  Tensors t(p, p.hints, 9);
  emulate(source, p, t);
  const int64_t depth = t.in[0].shape.back();
  return compare(t, op.epilogue, 3, product_tolerance(p, depth), [&](const std::vector<int64_t>& i) {
    std::vector<int64_t> at = i;
    std::vector<double> sums(2);
    for (int64_t k = 0; k < depth; ++k) {
      at.back() = k;
      for (size_t q = 0; q < 2; ++q) sums[q] += t.in[0].get(at) * (op.trans_b ? t.in[1 + q].get({i.back(), k}) : t.in[1 + q].get({k, i.back()}));
    }
    return sums;
  });
}

std::string check_conv(const Problem& p, const mma::KernelSource& source) {
  const Conv& op = std::get<Conv>(p.op);
  Tensors t(p, p.hints, 11);
  emulate(source, p, t);
  Tensor &x = t.in[0], &w = t.in[1];
  const size_t rank = x.shape.size() - 2;
  int64_t taps = 1;
  for (size_t d = 0; d < rank; ++d) taps *= w.shape[2 + d];
  const int64_t channels = x.shape[1], outs = t.out[0].shape[1], in_group = channels / op.groups, out_group = outs / op.groups;
  return compare(t, op.epilogue, 2, product_tolerance(p, taps * in_group), [&](const std::vector<int64_t>& i) {
    const int64_t o = i[1], group = o / out_group;
    double sum = 0;
    for (int64_t tap = 0; tap < taps; ++tap) {
      std::vector<int64_t> at{i[0], 0}, wt{0, 0};
      at.resize(2 + rank), wt.resize(2 + rank);
      int64_t rest = tap;
      bool inside = true;
      for (size_t d = rank; d-- > 0;) {
        const int64_t f = rest % w.shape[2 + d];
        rest /= w.shape[2 + d];
        wt[2 + d] = f;
        int64_t s = op.transposed ? i[2 + d] + op.pad_before[d] - f * op.dilation[d] : i[2 + d] * op.stride[d] - op.pad_before[d] + f * op.dilation[d];
        if (op.transposed) {
          inside = inside && s >= 0 && s % op.stride[d] == 0;
          s /= op.stride[d];
        }
        inside = inside && s >= 0 && s < x.shape[2 + d];
        at[2 + d] = s;
      }
      if (!inside) continue;
      for (int64_t c = 0; c < in_group; ++c) {
        at[1] = group * in_group + c;
        wt[0] = op.transposed ? at[1] : o, wt[1] = op.transposed ? o % out_group : c;
        sum += x.get(at) * w.get(wt);
      }
    }
    return sum;
  });
}

namespace {

/// Of query i = [b, h, row, ...] and every key; -inf where it may not attend.
std::vector<double> scores(const Attention& op, std::vector<Tensor>& in, const std::vector<int64_t>& i) {
  Tensor &q = in[0], &k = in[1];
  const int64_t keys = k.shape[2], share = q.shape[1] / k.shape[1];
  std::vector<double> s(static_cast<size_t>(keys), -INFINITY);
  for (int64_t j = 0; j < keys; ++j) {
    if (op.causal && j > i[2]) continue;
    double dot = 0;
    for (int64_t d = 0; d < q.shape[3]; ++d) dot += q.get({i[0], i[1], i[2], d}) * k.get({i[0], i[1] / share, j, d});
    s[j] = dot * op.scale;
    if (!op.has_mask) continue;
    const int64_t batches = in[3].shape.size() == 4 ? in[3].shape[0] : 1;  // the mask repeats for more
    const double m = in[3].broadcast({i[0] % batches, i[1], i[2], j});
    s[j] = in[3].dtype == DType::Bool ? (m != 0 ? s[j] : -INFINITY) : s[j] + m;
  }
  return s;
}

double logsumexp(const std::vector<double>& s) {
  const double top = *std::max_element(s.begin(), s.end());
  double total = 0;
  if (top == -INFINITY) return top;
  for (double x : s) total += std::exp(x - top);
  return top + std::log(total);
}

}  // namespace

std::string check_attention(const Problem& p, const mma::KernelSource& source) {
  const Attention& op = std::get<Attention>(p.op);
  Tensors t(p, p.hints, 13);
  emulate(source, p, t);
  Tensor& v = t.in[2];
  const int64_t share = t.in[0].shape[1] / t.in[1].shape[1];
  const DType type = t.in[0].dtype;
  const double tolerance = type == DType::F64 ? 1e-11 : type == DType::F32 ? 1e-5 : 2.0 * epsilon(type);
  if (op.logsumexp) {
    Tensors sums{p, p.hints, 13};
    sums.out.clear();
    sums.out.push_back(std::move(t.out[1]));
    t.out.pop_back();
    const std::string text = compare(sums, Program{}, sums.in.size(), 1e-3, [&](const std::vector<int64_t>& i) { return logsumexp(scores(op, t.in, i)); });
    if (!text.empty()) return "logsumexp: " + text;
  }
  return compare(t, Program{}, t.in.size(), tolerance, [&](const std::vector<int64_t>& i) {
    const std::vector<double> s = scores(op, t.in, i);
    const double total = logsumexp(s);
    double sum = 0;
    for (size_t j = 0; j < s.size() && total > -INFINITY; ++j)
      if (s[j] > -INFINITY) sum += std::exp(s[j] - total) * v.get({i[0], i[1] / share, static_cast<int64_t>(j), i[3]});
    return sum;
  });
}

}  // namespace tuyere::testing
