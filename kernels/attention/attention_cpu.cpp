// SPDX-License-Identifier: Apache-2.0
// own.attention.tile: blocks of queries against blocks of keys with running maxima and sums; scores never leave the cache.
#include <cmath>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kQueries = 96, kKeys = 128;  // 96: a multiple of the register block's rows
constexpr int64_t kFewQueries = 3;             // below, keys are not worth transposing

struct Buffers {
  std::vector<float> q, k, keys, v, scores, out, mask, top, sum;
};

// Rows of f32 values: in place where the tensor has them, otherwise converted into a buffer.
struct Rows {
  const float* data;
  int64_t stride;
};

class TileAttention {
 public:
  TileAttention(const Attention& op, const CpuProblem& p)
      : op_(op),
        q_(p.args.in[0]),
        k_(p.args.in[1]),
        v_(p.args.in[2]),
        out_(p.args.out[0]),
        depth_(q_.shape[3]),
        width_(v_.shape[3]),
        padded_(padded_columns(width_)),
        out_slot_(p.inputs()) {
    share_ = k_.shape[1] ? q_.shape[1] / k_.shape[1] : 1;
    if (op.has_mask) {
      mask_ = View(p.args.in[3]).broadcast_to(4, Ix{q_.shape[0], q_.shape[1], q_.shape[2], k_.shape[2]});
      load_mask_ = tile_load(mask_.dtype, DType::F32);
    }
    load_q_ = tile_load(q_.dtype, DType::F32);
    load_k_ = tile_load(k_.dtype, DType::F32);
    load_v_ = tile_load(v_.dtype, DType::F32);
    store_ = tile_store(DType::F32, out_.dtype);
    blocks_ = (q_.shape[2] + kQueries - 1) / kQueries;
    tasks_ = q_.shape[0] * q_.shape[1] * blocks_;
    const int64_t cost = q_.shape[0] * q_.shape[1] * q_.shape[2] * k_.shape[2] * (depth_ + width_) / 8;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(cost), std::max<int64_t>(1, tasks_)));
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffers& b : buffers_) {
      b.q.resize(static_cast<size_t>(kQueries * depth_));
      b.k.resize(static_cast<size_t>(kKeys * depth_));
      b.keys.resize(static_cast<size_t>(kKeys * depth_));
      b.v.resize(static_cast<size_t>(kKeys * padded_));
      b.scores.resize(kQueries * kKeys);
      b.out.resize(static_cast<size_t>(kQueries * padded_));
      b.mask.resize(kKeys);
      b.top.resize(kQueries);
      b.sum.resize(kQueries);
    }
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, tasks_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) run_block(ptr, buffers_[static_cast<size_t>(thread)], t);
    });
  }

 private:
  static Patch patch(const View& v, const void* data, int64_t batch, int64_t head, int64_t row, int row_dim, int col_dim) {
    const int64_t offset = batch * v.strides[0] + head * v.strides[1] + row * v.strides[2];
    return {static_cast<const char*>(data) + offset * (bits(v.dtype) / 8), v.strides[row_dim], v.strides[col_dim]};
  }

  void run_block(void* const* ptr, Buffers& b, int64_t task) {
    const int64_t first = task % blocks_ * kQueries, head = task / blocks_ % q_.shape[1], batch = task / blocks_ / q_.shape[1];
    const int64_t m = std::min(kQueries, q_.shape[2] - first);
    load_q_(patch(q_, ptr[0], batch, head, first, 2, 3), b.q.data(), m, depth_);
    row_functions().shift_scale(b.q.data(), m * depth_, 0, static_cast<float>(op_.scale), b.q.data());
    std::fill(b.out.begin(), b.out.end(), 0.0f);
    std::fill(b.top.begin(), b.top.end(), -INFINITY);
    std::fill(b.sum.begin(), b.sum.end(), 0.0f);
    const int64_t keys = op_.causal ? std::min(k_.shape[2], first + m) : k_.shape[2];
    for (int64_t key = 0; key < keys; key += kKeys) {
      const int64_t n = std::min(kKeys, keys - key);
      score(ptr, b, batch, head / share_, key, m, n);
      for (int64_t i = 0; i < m; ++i) update_row(ptr, b, batch, head, first + i, i, key, n);
      const Rows values = value_rows(ptr, b, batch, head / share_, key, n);
      small_gemm(b.scores.data(), kKeys, values.data, values.stride, b.out.data(), padded_, m, padded_, n, true);
    }
    for (int64_t i = 0; i < m; ++i) {
      float* row = b.out.data() + i * padded_;
      row_functions().shift_scale(row, width_, 0, b.sum[i] > 0 || b.sum[i] != b.sum[i] ? 1 / b.sum[i] : 0, row);
    }
    const Patch to = patch(out_, ptr[out_slot_], batch, head, first, 2, 3);
    if (padded_ == width_) return store_(b.out.data(), to, m, width_);
    for (int64_t i = 0; i < m; ++i) store_(b.out.data() + i * padded_, patch(out_, ptr[out_slot_], batch, head, first + i, 2, 3), 1, width_);
  }

  // scores[i, j] = scaled query i . key j
  void score(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t m, int64_t n) const {
    Rows keys{b.k.data(), depth_};
    const Patch source = patch(k_, ptr[1], batch, head, key, 2, 3);
    if (k_.dtype == DType::F32 && source.col_stride == 1) {
      keys = {static_cast<const float*>(source.data), source.row_stride};
    } else {
      load_k_(source, b.k.data(), n, depth_);
    }
    if (m <= kFewQueries) {
      for (int64_t i = 0; i < m; ++i) row_functions().dots(b.q.data() + i * depth_, keys.data, keys.stride, n, depth_, b.scores.data() + i * kKeys);
      return;
    }
    // The columns past n are stale and their scores unused.
    transpose(keys.data, keys.stride, b.keys.data(), kKeys, n, depth_);
    small_gemm(b.q.data(), depth_, b.keys.data(), kKeys, b.scores.data(), kKeys, m, padded_columns(n), depth_, false);
  }

  Rows value_rows(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t n) const {
    const Patch source = patch(v_, ptr[2], batch, head, key, 2, 3);
    if (padded_ == width_) {
      if (v_.dtype == DType::F32 && source.col_stride == 1) return {static_cast<const float*>(source.data), source.row_stride};
      load_v_(source, b.v.data(), n, width_);
    } else {
      for (int64_t j = 0; j < n; ++j) load_v_(patch(v_, ptr[2], batch, head, key + j, 2, 3), b.v.data() + j * padded_, 1, width_);
    }
    return {b.v.data(), padded_};
  }

  // Masks row i of the scores, turns it into weights under the running maximum and rescales what was summed so far.
  void update_row(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t query, int64_t i, int64_t key, int64_t n) const {
    float* row = b.scores.data() + i * kKeys;
    if (op_.has_mask) apply_mask(ptr, b, batch, head, query, key, n, row);
    if (op_.causal) {
      for (int64_t j = std::max<int64_t>(0, query + 1 - key); j < n; ++j) row[j] = -INFINITY;
    }
    const RowFunctions& f = row_functions();
    const float keep = f.online_softmax(row, n, &b.top[i], &b.sum[i]);
    if (keep != 1.0f && key > 0) f.shift_scale(b.out.data() + i * padded_, padded_, 0, keep, b.out.data() + i * padded_);
  }

  void apply_mask(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t query, int64_t key, int64_t n, float* row) const {
    Patch at = patch(mask_, ptr[3], batch, head, query, 2, 3);
    at.data = static_cast<const char*>(at.data) + key * mask_.strides[3] * (bits(mask_.dtype) / 8);
    load_mask_(at, b.mask.data(), 1, n);
    if (mask_.dtype == DType::Bool) {
      for (int64_t j = 0; j < n; ++j) row[j] = b.mask[j] != 0 ? row[j] : -INFINITY;
    } else {
      for (int64_t j = 0; j < n; ++j) row[j] += b.mask[j];
    }
  }

  Attention op_;
  View q_, k_, v_, out_, mask_;
  int64_t depth_, width_, padded_, share_ = 1, blocks_ = 0, tasks_ = 0;
  int out_slot_, threads_ = 1;
  LoadFn load_q_ = nullptr, load_k_ = nullptr, load_v_ = nullptr, load_mask_ = nullptr;
  StoreFn store_ = nullptr;
  std::vector<Buffers> buffers_;
};

std::unique_ptr<Executable> prepare_attention(const CpuProblem& p) { return executable(TileAttention(attrs<Attention>(p), p)); }

}  // namespace

void add_attention_kernels(CpuKernelTable& table) { table.push_back({"own.attention.tile", prepare_attention}); }

}  // namespace tuyere::cpu
