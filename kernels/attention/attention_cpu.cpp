// SPDX-License-Identifier: Apache-2.0
// own.attention.tile: blocks of queries against blocks of keys with running maxima and sums; scores never leave the cache. Products are those of f32, or of
// pairs of bf16 values where the machine has them: weights are then rounded, as values are.
#include <cmath>

#include "kernels/attention/attention_heads.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/transpose.h"
#include "kernels/pointwise/tile_simd.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kFewQueries = 3;         // below, keys are not worth transposing
constexpr int64_t kHeadBytes = 512 << 10;  // transposed keys of a head that are kept for all its queries
constexpr int64_t kQueriesOfHead = 48;     // of a block then: the scores leave room in the first cache

/// The size of equal blocks of at most `most`, in multiples of `step`.
int64_t even_blocks(int64_t size, int64_t most, int64_t step) {
  const int64_t blocks = std::max<int64_t>(1, (size + most - 1) / most), block = (size + blocks - 1) / blocks;
  return std::clamp<int64_t>((block + step - 1) / step * step, step, most);
}

struct Buffers {
  std::vector<float> q, k, keys, v, scores, out, top, sum;
  std::vector<uint32_t> values;       // pairs of them, of the blocks in `keys`
  std::vector<uint16_t> weights;      // scores as bf16
  int64_t head = -1, transposed = 0;  // whose keys are in `keys`, and how many blocks of them
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
    if (op.has_mask) mask_ = ScoreMask(p.args.in[3], 3, q_, k_);
    if (op.logsumexp) logsumexp_ = View(p.args.out[1]);
    load_q_ = tile_load(q_.dtype, DType::F32);
    load_k_ = tile_load(k_.dtype, DType::F32);
    load_v_ = tile_load(v_.dtype, DType::F32);
    store_ = tile_store(DType::F32, out_.dtype);
    key_block_ = even_blocks(k_.shape[2], kKeys, kGemmColumns);
    const int64_t key_blocks = (k_.shape[2] + key_block_ - 1) / key_block_;
    keeps_keys_ = key_blocks * kKeys * depth_ * 4 <= kHeadBytes;
    query_block_ = even_blocks(q_.shape[2], keeps_keys_ ? kQueriesOfHead : kQueries, kGemmRows);
    blocks_ = (q_.shape[2] + query_block_ - 1) / query_block_;
    tasks_ = q_.shape[0] * q_.shape[1] * blocks_;
    const bool shorts = q_.dtype == DType::BF16 && k_.dtype == DType::BF16 && v_.dtype == DType::BF16 && depth_ % 2 == 0;
    const bool rows = q_.strides[3] == 1 && k_.strides[3] == 1 && v_.strides[3] == 1 && k_.strides[2] % 2 == 0;
    pairs_ = shorts && rows && query_block_ > kFewQueries ? pair_functions() : nullptr;
    const int64_t cost = q_.shape[0] * q_.shape[1] * q_.shape[2] * k_.shape[2] * (depth_ + width_) / 8;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(cost), std::max<int64_t>(1, tasks_)));
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffers& b : buffers_) {
      b.q.resize(static_cast<size_t>(kQueries * depth_));
      b.k.resize(static_cast<size_t>(kKeys * depth_));
      b.keys.resize(static_cast<size_t>((keeps_keys_ ? key_blocks : 1) * kKeys * depth_));
      b.v.resize(static_cast<size_t>(kKeys * width_ + kGemmColumns));
      b.scores.resize(kQueries * kKeys);
      if (pairs_) b.values.resize(static_cast<size_t>((keeps_keys_ ? key_blocks : 1) * kKeys / 2 * padded_));
      if (pairs_) b.weights.resize(kQueries * kKeys);
      b.out.resize(static_cast<size_t>(kQueries * padded_));
      b.top.resize(kQueries);
      b.sum.resize(kQueries);
    }
  }

  void operator()(void* const* ptr) {
    for (Buffers& b : buffers_) b.head = -1;
    parallel_ranges(threads_, tasks_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) run_block(ptr, buffers_[static_cast<size_t>(thread)], t);
    });
  }

 private:
  void run_block(void* const* ptr, Buffers& b, int64_t task) {
    const int64_t first = task % blocks_ * query_block_, head = task / blocks_ % q_.shape[1], batch = task / blocks_ / q_.shape[1];
    const int64_t m = std::min(query_block_, q_.shape[2] - first);
    if (!pairs_) {
      load_q_(head_rows(q_, ptr[0], batch, head, first), b.q.data(), m, depth_);
      row_functions().shift_scale(b.q.data(), m * depth_, 0, static_cast<float>(op_.scale), b.q.data());
    }
    std::fill_n(b.out.data(), m * padded_, 0.0f);
    std::fill_n(b.top.data(), m, -INFINITY);
    std::fill_n(b.sum.data(), m, 0.0f);
    const int64_t keys = op_.causal ? std::min(k_.shape[2], first + m) : k_.shape[2];
    for (int64_t key = 0; key < keys; key += key_block_) {
      const int64_t n = std::min(key_block_, keys - key);
      if (pairs_) {
        add_block_of_pairs(ptr, b, batch, head, first, m, key, n);
        continue;
      }
      score(ptr, b, batch, head / share_, key, m, n);
      for (int64_t i = 0; i < m; ++i) update_row(ptr, b, batch, head, first + i, i, key, n);
      const Rows values = value_rows(ptr, b, batch, head / share_, key, n);
      small_gemm(b.scores.data(), kKeys, values.data, values.stride, b.out.data(), padded_, m, padded_, n, true);
    }
    // Rows move together as they are scaled: nothing that is still to be read is written.
    for (int64_t i = 0; i < m; ++i) {
      const float scale = b.sum[i] > 0 || b.sum[i] != b.sum[i] ? 1 / b.sum[i] : 0;
      row_functions().shift_scale(b.out.data() + i * padded_, width_, 0, scale, b.out.data() + i * width_);
    }
    store_(b.out.data(), head_rows(out_, ptr[out_slot_], batch, head, first), m, width_);
    if (op_.logsumexp) store_logsumexp(ptr, b, batch, head, first, m);
  }

  /// Scores, weights and weighted values of a block of keys, of bf16 pairs. The columns past n are stale, as are their scores.
  void add_block_of_pairs(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t first, int64_t m, int64_t key, int64_t n) const {
    const auto* keys = reinterpret_cast<const uint32_t*>(transposed_keys(ptr, b, batch, head / share_, key));
    const Patch queries = head_rows(q_, ptr[0], batch, head, first);
    const auto* q = static_cast<const uint16_t*>(queries.data);
    pairs_->gemm(q, queries.row_stride, keys, kKeys, b.scores.data(), kKeys, m, padded_columns(n), depth_ / 2, false);
    const int64_t even = (n + 1) / 2;
    for (int64_t i = 0; i < m; ++i) {
      float* row = b.scores.data() + i * kKeys;
      uint16_t* weights = b.weights.data() + i * kKeys;
      if (n % 2 != 0) weights[n] = 0;
      if (!op_.has_mask && op_.scale > 0) {
        if (op_.causal) mask_later_keys(first + i, key, n, row);
        keep_sums(b, i, key, row_functions().online_softmax_short(row, n, static_cast<float>(op_.scale), &b.top[i], &b.sum[i], weights));
        continue;
      }
      row_functions().shift_scale(row, n, 0, static_cast<float>(op_.scale), row);
      update_row(ptr, b, batch, head, first + i, i, key, n);
      from_f32(DType::BF16, row, n, weights, n, 1, n);
    }
    const uint32_t* values = b.values.data() + (keeps_keys_ ? key / key_block_ * (kKeys / 2) * padded_ : 0);
    pairs_->gemm(b.weights.data(), kKeys, values, padded_, b.out.data(), padded_, m, padded_, even, true);
  }

  /// The keys of a block as [depth / 2, kKeys] pairs, and its values as [n / 2, padded_].
  void load_pairs(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t n, float* keys) const {
    const Patch k = head_rows(k_, ptr[1], batch, head, key), v = head_rows(v_, ptr[2], batch, head, key);
    transpose(static_cast<const float*>(k.data), k.row_stride / 2, keys, kKeys, n, depth_ / 2);
    uint32_t* to = b.values.data() + (keeps_keys_ ? key / key_block_ * (kKeys / 2) * padded_ : 0);
    const auto* rows = static_cast<const uint16_t*>(v.data);
    for (int64_t i = 0; i < n; i += 2, to += padded_) {
      pairs_->interleave(rows + i * v.row_stride, i + 1 < n ? rows + (i + 1) * v.row_stride : nullptr, to, width_);
    }
  }

  void store_logsumexp(void* const* ptr, const Buffers& b, int64_t batch, int64_t head, int64_t first, int64_t m) const {
    const Ix& strides = logsumexp_.strides;
    float* to = static_cast<float*>(ptr[out_slot_ + 1]) + batch * strides[0] + head * strides[1] + first * strides[2];
    for (int64_t i = 0; i < m; ++i) to[i * strides[2]] = b.top[i] + std::log(b.sum[i]);
  }

  // scores[i, j] = scaled query i . key j
  void score(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t m, int64_t n) const {
    if (m <= kFewQueries) {
      const Rows keys = key_rows(ptr, b, batch, head, key, n);
      for (int64_t i = 0; i < m; ++i) row_functions().dots(b.q.data() + i * depth_, keys.data, keys.stride, n, depth_, b.scores.data() + i * kKeys);
      return;
    }
    // The columns past n are stale and their scores unused.
    small_gemm(b.q.data(), depth_, transposed_keys(ptr, b, batch, head, key), kKeys, b.scores.data(), kKeys, m, padded_columns(n), depth_, false);
  }

  Rows key_rows(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t n) const {
    const Patch source = head_rows(k_, ptr[1], batch, head, key);
    if (k_.dtype == DType::F32 && source.col_stride == 1) return {static_cast<const float*>(source.data), source.row_stride};
    load_k_(source, b.k.data(), n, depth_);
    return {b.k.data(), depth_};
  }

  /// The block of keys from `key` on as [depth, kKeys], or as pairs.
  const float* transposed_keys(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key) const {
    const int64_t number = batch * k_.shape[1] + head, block = key / key_block_, n = std::min(key_block_, k_.shape[2] - key);
    float* to = b.keys.data() + (keeps_keys_ ? block * kKeys * depth_ : 0);
    if (b.head != number) b.transposed = 0;
    b.head = number;
    if (keeps_keys_ && block < b.transposed) return to;
    if (pairs_) {
      load_pairs(ptr, b, batch, head, key, n, to);
    } else {
      const Rows keys = key_rows(ptr, b, batch, head, key, n);
      transpose(keys.data, keys.stride, to, kKeys, n, depth_);
    }
    b.transposed = block + 1;
    return to;
  }

  Rows value_rows(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t key, int64_t n) const {
    const Patch source = head_rows(v_, ptr[2], batch, head, key);
    if (padded_ == width_ && v_.dtype == DType::F32 && source.col_stride == 1) return {static_cast<const float*>(source.data), source.row_stride};
    load_v_(source, b.v.data(), n, width_);
    return {b.v.data(), width_};  // columns past the width are those of the next row, and the products with them unused
  }

  // Masks row i of the scores, turns it into weights under the running maximum and rescales what was summed so far.
  void update_row(void* const* ptr, Buffers& b, int64_t batch, int64_t head, int64_t query, int64_t i, int64_t key, int64_t n) const {
    float* row = b.scores.data() + i * kKeys;
    if (op_.has_mask) mask_.apply(ptr, batch, head, query, key, n, row);
    if (op_.causal) mask_later_keys(query, key, n, row);
    keep_sums(b, i, key, row_functions().online_softmax(row, n, &b.top[i], &b.sum[i]));
  }

  /// What was summed so far counts `keep` times as much from now on.
  void keep_sums(Buffers& b, int64_t i, int64_t key, float keep) const {
    float* out = b.out.data() + i * padded_;
    if (keep != 1.0f && key > 0) row_functions().shift_scale(out, padded_, 0, keep, out);
  }

  Attention op_;
  View q_, k_, v_, out_, logsumexp_;
  ScoreMask mask_;
  int64_t depth_, width_, padded_, share_ = 1, blocks_ = 0, tasks_ = 0;
  int64_t key_block_ = kKeys, query_block_ = kQueries;
  bool keeps_keys_ = false;
  const PairFunctions* pairs_ = nullptr;  // products are theirs
  int out_slot_, threads_ = 1;
  LoadFn load_q_ = nullptr, load_k_ = nullptr, load_v_ = nullptr;
  StoreFn store_ = nullptr;
  std::vector<Buffers> buffers_;
};

std::unique_ptr<Executable> prepare_attention(const CpuProblem& p) { return executable(TileAttention(attrs<Attention>(p), p)); }

}  // namespace

void add_attention_kernels(CpuKernelTable& table) {
  table.push_back({"own.attention.tile", prepare_attention});
  add_attention_gradient_kernels(table);
}

}  // namespace tuyere::cpu
