// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_ONEDNN
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/matmul/matmul_kernels.h"
#include "kernels/onednn/dnnl_gemm.h"
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {
namespace {

// [..., R, C] after the optional transpose, padded with leading ones to `rank`; size-1 batch dims keep size 1.
View operand(const TensorView& t, bool transpose, int rank) {
  View v(t), r;
  INTERNAL_CHECK(v.rank >= 2 && v.rank <= rank, "matmul operand of rank " << v.rank << " for an output of rank " << rank);
  if (transpose) {
    std::swap(v.shape[v.rank - 1], v.shape[v.rank - 2]);
    std::swap(v.strides[v.rank - 1], v.strides[v.rank - 2]);
  }
  r.dtype = v.dtype;
  r.rank = rank;
  const int shift = rank - v.rank;
  std::fill_n(r.shape.begin(), shift, 1);
  for (int d = 0; d < v.rank; ++d) {
    r.shape[d + shift] = v.shape[d];
    r.strides[d + shift] = v.strides[d];
  }
  return r;
}

void erase_dim(View& v, int d) {
  for (int e = d; e + 1 < v.rank; ++e) {
    v.shape[e] = v.shape[e + 1];
    v.strides[e] = v.strides[e + 1];
  }
  --v.rank;
}

// Whether dims d and d+1 of v are one (or v repeats along both).
bool mergeable(const View& v, int d) {
  if (v.shape[d] == 1 && v.shape[d + 1] == 1) return true;
  return v.shape[d] != 1 && v.shape[d + 1] != 1 && v.strides[d] == v.strides[d + 1] * v.shape[d + 1];
}
void merge(View& v, int d) {
  v.shape[d + 1] *= v.shape[d];
  erase_dim(v, d);
}

// Strides of a size-1 dim never matter; the library wants them consistent all the same.
void tidy_matrix(View& v) {
  for (int d = 0; d < v.rank; ++d) {
    if (v.shape[d] == 1) v.strides[d] = d + 1 < v.rank ? std::max<int64_t>(1, v.strides[d + 1] * v.shape[d + 1]) : 1;
  }
}

// Folds batch dims into M when b does not have them, and into each other: large plain GEMMs run faster than batches.
void collapse(DnnlRequest& r) {
  View &a = r.x, &b = r.w, &c = r.out;
  for (int d = c.rank - 3; d >= 0; --d) {
    if (c.shape[d] != 1) continue;
    for (View* v : {&a, &b, &c}) erase_dim(*v, d);
    for (View& v : r.extras) erase_dim(v, d);
  }
  const auto extras_merge = [&](int d) { return std::all_of(r.extras.begin(), r.extras.end(), [d](const View& v) { return mergeable(v, d); }); };
  while (c.rank > 2) {
    const int d = c.rank - 3;  // innermost batch dim and M
    if (b.shape[d] != 1 || !mergeable(a, d) || !mergeable(c, d) || !extras_merge(d)) break;
    if (a.shape[d] == 1 || a.shape[d + 1] == 1) break;
    merge(a, d);
    merge(c, d);
    erase_dim(b, d);
    for (View& v : r.extras) merge(v, d);
  }
  for (int d = c.rank - 4; d >= 0; --d) {
    if (!mergeable(a, d) || !mergeable(b, d) || !mergeable(c, d) || !extras_merge(d)) continue;
    for (View* v : {&a, &b, &c}) merge(*v, d);
    for (View& v : r.extras) merge(v, d);
  }
}

constexpr int64_t kShortSum = 384;

// The library adds the products of an f32 sum up in chains of some 500, in few rows of up to 2048. MKL, which eager calls, begins anew every 384 (on AMD
// machines every 192) and is up to 1.7 times more exact. Every part reads and writes the output, so they are short only where it stays in the cache and they
// are few.
int64_t parts_of_sum(const View& x, const View& out) {
  constexpr int64_t kCached = 1 << 20, kLong = 1024;
  if (x.dtype != DType::F32) return 1;
  const int64_t sum = x.shape[x.rank - 1], most = sum <= kLong && bytes_of(out.dtype, out.numel()) <= kCached ? kShortSum : kLong;
  return (sum + most - 1) / most;
}

DnnlRequest matmul_request(const CpuProblem& p) {
  const auto& op = attrs<MatMul>(p);
  const View out(p.args.out[0]);
  std::vector<View> extras;
  for (int k = 2; k < p.inputs(); ++k) extras.push_back(View(p.args.in[k]).broadcast_to(out));
  return onednn_product(operand(p.args.in[0], op.trans_a, out.rank), operand(p.args.in[1], op.trans_b, out.rank), out, std::move(extras), op.epilogue);
}

// A few rows against a large matrix take as long as memory when the matrix is walked as a whole, and up to twice as long in parts. Eager is then up to four
// times more exact than one chain; our own kernel is as exact as eager, and as fast.
bool streams(const DnnlRequest& r) {
  constexpr int64_t kLarge = 1 << 20, kFew = 64;
  const int64_t sum = r.x.shape[r.x.rank - 1];
  return r.x.dtype == DType::F32 && sum > kShortSum && r.out.shape[r.out.rank - 2] < kFew && bytes_of(r.w.dtype, r.w.numel()) > kLarge;
}

bool is_empty_matmul(const CpuProblem& p) { return p.args.in[0].numel() == 0 || p.args.in[1].numel() == 0; }

}  // namespace

DnnlRequest onednn_product(const View& x, const View& w, const View& out, std::vector<View> extras, const Program& epilogue) {
  DnnlRequest r;
  r.x = x, r.w = w, r.out = out, r.extras = std::move(extras), r.epilogue = epilogue;
  collapse(r);
  for (View* v : {&r.x, &r.w, &r.out}) tidy_matrix(*v);
  r.sum_x = r.x.rank - 1;
  r.sum_w = r.w.rank - 2;
  r.parts = parts_of_sum(r.x, r.out);
  r.channel = r.out.rank - 1;
  r.bias_dims.assign(r.out.rank, 1);
  r.bias_dims.back() = -1;
  r.create = [](dnnl_primitive_desc_t* desc, const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t w, const_dnnl_memory_desc_t bias,
                const_dnnl_memory_desc_t out,
                const_dnnl_primitive_attr_t attr) { return dnnl().matmul_primitive_desc_create(desc, dnnl().cpu, x, w, bias, out, attr); };
  return r;
}

int64_t workspace_onednn_matmul(const CpuProblem& p) {
  if (is_empty_matmul(p)) return 0;
  const DnnlRequest request = matmul_request(p);
  return streams(request) ? workspace_blocked_matmul(p) : DnnlGemm(request, p).workspace_bytes();
}

std::unique_ptr<Executable> prepare_onednn_matmul(const CpuProblem& p) {
  if (is_empty_matmul(p)) return prepare_kernel("reference.matmul", p);
  const DnnlRequest request = matmul_request(p);
  return streams(request) ? prepare_kernel("own.matmul.blocked", p) : DnnlGemm(request, p).prepare(p);
}

}  // namespace tuyere::cpu
#endif
