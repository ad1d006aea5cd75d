// SPDX-License-Identifier: Apache-2.0
// own.attention_gradient.tile: the weights of a block of queries and keys are computed again from the logsumexp, and never leave the cache.
//   P = exp(scale * Q K^T + mask - logsumexp)   dV += P^T dO   dS = P * (dO V^T - rowsum(dO * O))   dQ += scale * dS K   dK += dS^T (scale * Q)
#include <cmath>

#include "kernels/attention/attention_heads.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/transpose.h"

namespace tuyere::cpu {
namespace {

// Of one thread, in f32. Matrices that are multiplied from the right have room behind them for the columns past the last row's end.
struct GradientBuffers {
  std::vector<float> q, k, keys, values, dout, out, v, scores, ds, dq, dk, dv, delta, totals;
};

class TileAttentionGradient {
 public:
  TileAttentionGradient(const AttentionGradient& op, const CpuProblem& p)
      : op_(op),
        depth_(p.args.in[GradientInput::q].shape[3]),
        width_(p.args.in[GradientInput::v].shape[3]),
        padded_depth_(padded_columns(depth_)),
        padded_width_(padded_columns(width_)) {
    for (int k = 0; k < GradientInput::logsumexp; ++k) {
      in_.emplace_back(p.args.in[k]);
      loads_.push_back(tile_load(in_.back().dtype, DType::F32));
    }
    logsumexp_ = View(p.args.in[GradientInput::logsumexp]);
    for (const TensorView& t : p.args.out) {
      results_.emplace_back(t);
      stores_.push_back(tile_store(DType::F32, results_.back().dtype));
    }
    result_slot_ = p.inputs();
    if (op.has_mask) mask_ = ScoreMask(p.args.in[GradientInput::mask], GradientInput::mask, in_[GradientInput::q], in_[GradientInput::k]);
    queries_ = in_[GradientInput::q].shape[2];
    keys_ = in_[GradientInput::k].shape[2];
    heads_ = in_[GradientInput::q].shape[1];
    tasks_ = in_[GradientInput::q].shape[0] * heads_;
    const int64_t cost = tasks_ * queries_ * keys_ * (3 * depth_ + 2 * width_) / 8;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(cost), std::max<int64_t>(1, tasks_)));
    buffers_.resize(static_cast<size_t>(threads_));
    for (GradientBuffers& b : buffers_) resize(b);
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, tasks_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) run_head(ptr, buffers_[static_cast<size_t>(thread)], t / heads_, t % heads_);
    });
  }

 private:
  void resize(GradientBuffers& b) const {
    const auto size = [](int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns + kGemmColumns); };
    b.q.resize(size(kQueries, depth_));
    b.dout.resize(size(kQueries, width_));
    b.out.resize(size(kQueries, width_));
    b.k.resize(size(kKeys, depth_));
    b.v.resize(size(kKeys, width_));
    b.keys.resize(size(depth_, kKeys));
    b.values.resize(size(width_, kKeys));
    b.scores.resize(size(kQueries, kKeys));
    b.ds.resize(size(kQueries, kKeys));
    b.dq.resize(size(queries_, padded_depth_));
    b.dk.resize(size(kKeys, padded_depth_));
    b.dv.resize(size(kKeys, padded_width_));
    b.delta.resize(static_cast<size_t>(queries_));
    b.totals.resize(static_cast<size_t>(queries_));
  }

  void run_head(void* const* ptr, GradientBuffers& b, int64_t batch, int64_t head) const {
    row_sums(ptr, b, batch, head);
    std::fill(b.dq.begin(), b.dq.end(), 0.0f);
    for (int64_t key = 0; key < keys_; key += kKeys) {
      const int64_t n = std::min(kKeys, keys_ - key);
      const float* k = load_keys(ptr, b, batch, head, key, n);
      std::fill_n(b.dk.data(), n * padded_depth_, 0.0f);
      std::fill_n(b.dv.data(), n * padded_width_, 0.0f);
      for (int64_t first = op_.causal ? key / kQueries * kQueries : 0; first < queries_; first += kQueries) {
        run_block(ptr, b, {batch, head, first, std::min(kQueries, queries_ - first), key, n}, k);
      }
      store(ptr, 1, {batch, head, key}, b.dk.data(), padded_depth_, depth_, n, 1);
      store(ptr, 2, {batch, head, key}, b.dv.data(), padded_width_, width_, n, 1);
    }
    store(ptr, 0, {batch, head, 0}, b.dq.data(), padded_depth_, depth_, queries_, static_cast<float>(op_.scale));
  }

  struct Place {
    int64_t batch, head, row;
  };
  struct Block {
    int64_t batch, head, first, m, key, n;
  };

  const float* load(void* const* ptr, int slot, const Place& at, int64_t rows, int64_t columns, std::vector<float>& to) const {
    loads_[static_cast<size_t>(slot)](head_rows(in_[static_cast<size_t>(slot)], ptr[slot], at.batch, at.head, at.row), to.data(), rows, columns);
    return to.data();
  }

  // rowsum(dO * O) and the logsumexp of all queries of a head.
  void row_sums(void* const* ptr, GradientBuffers& b, int64_t batch, int64_t head) const {
    for (int64_t first = 0; first < queries_; first += kQueries) {
      const int64_t m = std::min(kQueries, queries_ - first);
      load(ptr, GradientInput::dout, {batch, head, first}, m, width_, b.dout);
      load(ptr, GradientInput::out, {batch, head, first}, m, width_, b.out);
      for (int64_t i = 0; i < m; ++i)
        row_functions().dots(b.dout.data() + i * width_, b.out.data() + i * width_, width_, 1, width_, b.delta.data() + first + i);
    }
    const Ix& strides = logsumexp_.strides;
    const float* totals = static_cast<const float*>(ptr[GradientInput::logsumexp]) + batch * strides[0] + head * strides[1];
    for (int64_t i = 0; i < queries_; ++i) {
      const float total = totals[i * strides[2]];
      b.totals[static_cast<size_t>(i)] = total == -INFINITY ? 0 : total;  // nothing may be attended: all weights are zero
    }
  }

  // Keys, and keys and values transposed.
  const float* load_keys(void* const* ptr, GradientBuffers& b, int64_t batch, int64_t head, int64_t key, int64_t n) const {
    const float* k = load(ptr, GradientInput::k, {batch, head, key}, n, depth_, b.k);
    transpose(k, depth_, b.keys.data(), kKeys, n, depth_);
    transpose(load(ptr, GradientInput::v, {batch, head, key}, n, width_, b.v), width_, b.values.data(), kKeys, n, width_);
    return k;
  }

  void run_block(void* const* ptr, GradientBuffers& b, const Block& t, const float* k) const {
    const RowFunctions& f = row_functions();
    load(ptr, GradientInput::q, {t.batch, t.head, t.first}, t.m, depth_, b.q);
    f.shift_scale(b.q.data(), t.m * depth_, 0, static_cast<float>(op_.scale), b.q.data());
    load(ptr, GradientInput::dout, {t.batch, t.head, t.first}, t.m, width_, b.dout);
    // Columns past n are stale and not used.
    const int64_t columns = padded_columns(t.n);
    small_gemm(b.q.data(), depth_, b.keys.data(), kKeys, b.scores.data(), kKeys, t.m, columns, depth_, false);
    small_gemm(b.dout.data(), width_, b.values.data(), kKeys, b.ds.data(), kKeys, t.m, columns, width_, false);
    for (int64_t i = 0; i < t.m; ++i) {
      float *scores = b.scores.data() + i * kKeys, *ds = b.ds.data() + i * kKeys;
      const int64_t query = t.first + i;
      if (op_.has_mask) mask_.apply(ptr, t.batch, t.head, query, t.key, t.n, scores);
      if (op_.causal) mask_later_keys(query, t.key, t.n, scores);
      f.exp_sum(scores, t.n, b.totals[static_cast<size_t>(query)], scores);
      f.affine(ds, t.n, b.delta[static_cast<size_t>(query)], 1, scores, nullptr, ds);
    }
    small_gemm_transposed(b.scores.data(), kKeys, b.dout.data(), width_, b.dv.data(), padded_width_, t.n, padded_width_, t.m, true);
    small_gemm_transposed(b.ds.data(), kKeys, b.q.data(), depth_, b.dk.data(), padded_depth_, t.n, padded_depth_, t.m, true);
    small_gemm(b.ds.data(), kKeys, k, depth_, b.dq.data() + t.first * padded_depth_, padded_depth_, t.m, padded_depth_, t.n, true);
  }

  // Scales rows and moves them together, then stores them.
  void store(void* const* ptr, size_t k, const Place& at, float* rows, int64_t stride, int64_t columns, int64_t count, float scale) const {
    if (stride != columns || scale != 1) {
      for (int64_t i = 0; i < count; ++i) row_functions().shift_scale(rows + i * stride, columns, 0, scale, rows + i * columns);
    }
    stores_[k](rows, head_rows(results_[k], ptr[result_slot_ + static_cast<int>(k)], at.batch, at.head, at.row), count, columns);
  }

  AttentionGradient op_;
  int64_t depth_, width_, padded_depth_, padded_width_, queries_ = 0, keys_ = 0, heads_ = 0, tasks_ = 0;
  std::vector<View> in_, results_;
  View logsumexp_;
  ScoreMask mask_;
  std::vector<LoadFn> loads_;
  std::vector<StoreFn> stores_;
  int result_slot_ = 0, threads_ = 1;
  std::vector<GradientBuffers> buffers_;
};

std::unique_ptr<Executable> prepare_attention_gradient(const CpuProblem& p) { return executable(TileAttentionGradient(attrs<AttentionGradient>(p), p)); }

}  // namespace

void add_attention_gradient_kernels(CpuKernelTable& table) { table.push_back({"own.attention_gradient.tile", prepare_attention_gradient}); }

}  // namespace tuyere::cpu
