// SPDX-License-Identifier: Apache-2.0
// What attention on the CPU and its gradient share: the rows of one head, and masks of scores.
#pragma once
#include <cmath>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {

constexpr int64_t kQueries = 96, kKeys = 128;  // blocks of scores; 96: a multiple of the register block's rows

/// Rows of f32 values: in place where the tensor has them, otherwise converted into a buffer.
struct Rows {
  const float* data;
  int64_t stride;
};

/// The rows of a head of v [B, H, S, D] from `row` on.
inline Patch head_rows(const View& v, const void* data, int64_t batch, int64_t head, int64_t row) {
  const int64_t offset = batch * v.strides[0] + head * v.strides[1] + row * v.strides[2];
  return {static_cast<const char*>(data) + offset * (bits(v.dtype) / 8), v.strides[2], v.strides[3]};
}

/// The keys that come after the query cannot be attended.
inline void mask_later_keys(int64_t query, int64_t key, int64_t n, float* row) {
  for (int64_t j = std::max<int64_t>(0, query + 1 - key); j < n; ++j) row[j] = -INFINITY;
}

/// How many batch entries a mask has; it repeats for the others.
inline int64_t mask_batches(const View& mask, const View& q) { return mask.rank == 4 && mask.shape[0] != 1 ? mask.shape[0] : q.shape[0]; }

/// The mask of an attention, broadcast over [B, H, Sq, Skv].
class ScoreMask {
 public:
  ScoreMask() = default;
  ScoreMask(const TensorView& mask, int slot, const View& q, const View& k)
      : batches_(mask_batches(View(mask), q)),
        view_(View(mask).broadcast_to(4, Ix{batches_, q.shape[1], q.shape[2], k.shape[2]})),
        load_(tile_load(view_.dtype, DType::F32)),
        slot_(slot) {}

  /// Applies it to the scores of `n` <= kKeys keys from `key` on.
  void apply(void* const* pointers, int64_t batch, int64_t head, int64_t query, int64_t key, int64_t n, float* row) const {
    Patch at = head_rows(view_, pointers[slot_], batch % batches_, head, query);
    at.data = static_cast<const char*>(at.data) + key * view_.strides[3] * (bits(view_.dtype) / 8);
    float values[kKeys];
    load_(at, values, 1, n);
    if (view_.dtype == DType::Bool) {
      for (int64_t j = 0; j < n; ++j) row[j] = values[j] != 0 ? row[j] : -INFINITY;
    } else {
      for (int64_t j = 0; j < n; ++j) row[j] += values[j];
    }
  }

 private:
  int64_t batches_ = 1;
  View view_;
  LoadFn load_ = nullptr;
  int slot_ = 0;
};

/// The inputs of AttentionGradient.
struct GradientInput {
  enum : int { dout, q, k, v, out, logsumexp, mask };
};

/// The gradients of attention.
void add_attention_gradient_kernels(CpuKernelTable& table);
void add_attention_gradient_references(CpuKernelTable& table);

}  // namespace tuyere::cpu
