// SPDX-License-Identifier: Apache-2.0
// Row primitives over Highway vectors: maps, reductions, conversions. Included once per target.
#include <cmath>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/pointwise/tile_simd.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Df = hn::ScalableTag<float>;
constexpr int64_t kMaxLanes = HWY_MAX_BYTES / 4;

/// out[i] = f(in[i]); the tail goes through a buffer of one vector.
template <class F>
HWY_INLINE void map_row(const float* in, float* out, int64_t n, F f) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, in + i)), d, out + i);
  if (i == n) return;
  float tail[kMaxLanes] = {};
  std::memcpy(tail, in + i, static_cast<size_t>(n - i) * 4);
  hn::StoreU(f(d, hn::LoadU(d, tail)), d, tail);
  std::memcpy(out + i, tail, static_cast<size_t>(n - i) * 4);
}

/// Folds f over the vectors of a row with four accumulators that start at `init` and are joined at the end; the tail is padded with `pad`.
template <class F, class J>
HWY_INLINE hn::Vec<Df> fold_row(const float* x, int64_t n, float init, float pad, F f, J join) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a0 = hn::Set(d, init), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = f(d, a0, hn::LoadU(d, x + i));
    a1 = f(d, a1, hn::LoadU(d, x + i + lanes));
    a2 = f(d, a2, hn::LoadU(d, x + i + 2 * lanes));
    a3 = f(d, a3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = f(d, a0, hn::LoadU(d, x + i));
  if (i < n) {
    float tail[kMaxLanes];
    for (float& t : tail) t = pad;
    std::memcpy(tail, x + i, static_cast<size_t>(n - i) * 4);
    a1 = f(d, a1, hn::LoadU(d, tail));
  }
  return join(d, join(d, a0, a1), join(d, a2, a3));
}

// Long rows are cut so that no f32 lane adds up more than a few dozen values.
constexpr int64_t kSumBlock = 2048;

template <class F>
HWY_INLINE double sum_blocks(const float* x, int64_t n, float pad, F f) {
  const Df d;
  double total = 0;
  for (int64_t i = 0; i < n; i += kSumBlock) {
    const auto sum = fold_row(x + i, HWY_MIN(kSumBlock, n - i), 0.0f, pad, f, [](auto, auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
  return total;
}

double row_sum(const float* x, int64_t n) {
  return sum_blocks(x, n, 0.0f, [](auto, auto acc, auto v) HWY_ATTR { return hn::Add(acc, v); });
}
double row_sum_squared_difference(const float* x, int64_t n, float mean) {
  return sum_blocks(x, n, mean, [mean](auto d, auto acc, auto v) HWY_ATTR {
    const auto e = hn::Sub(v, hn::Set(d, mean));
    return hn::MulAdd(e, e, acc);
  });
}

// The extreme of a row where NaN wins: vectors keep NaN apart from the comparison.
template <class F>
HWY_INLINE float extreme(const float* x, int64_t n, float init, F better) {
  const Df d;
  const auto fold = [better](auto, auto acc, auto v) HWY_ATTR { return hn::IfThenElse(hn::Or(better(v, acc), hn::IsNaN(v)), v, acc); };
  float lanes[kMaxLanes];
  hn::StoreU(fold_row(x, n, init, init, fold, fold), d, lanes);
  float best = init;
  for (int64_t k = 0; k < static_cast<int64_t>(hn::Lanes(d)); ++k) {
    const bool take = init < 0 ? lanes[k] > best : lanes[k] < best;
    best = take || lanes[k] != lanes[k] ? lanes[k] : best;
  }
  return best;
}
float row_max(const float* x, int64_t n) {
  return extreme(x, n, -INFINITY, [](auto a, auto b) HWY_ATTR { return hn::Gt(a, b); });
}
float row_min(const float* x, int64_t n) {
  return extreme(x, n, INFINITY, [](auto a, auto b) HWY_ATTR { return hn::Lt(a, b); });
}
double row_exp_sum(const float* x, int64_t n, float top, float* out) {
  map_row(x, out, n, [top](auto d, auto v) HWY_ATTR { return exp_negative(d, hn::Sub(v, hn::Set(d, top))); });
  return row_sum(out, n);
}
void row_shift_scale(const float* x, int64_t n, float shift, float scale, float* out) {
  map_row(x, out, n, [shift, scale](auto d, auto v) HWY_ATTR { return hn::Mul(hn::Sub(v, hn::Set(d, shift)), hn::Set(d, scale)); });
}
void row_add_columns(const float* x, double* sums, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(x[i]);
}
RowFunctions rows() { return {row_sum, row_sum_squared_difference, row_max, row_min, row_exp_sum, row_shift_scale, row_add_columns}; }

HWY_INLINE void load_f16(const uint16_t* in, float* out, int64_t n) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SSE2 && HWY_TARGET != HWY_SSE4
  const Df d;
  const hn::Rebind<hwy::float16_t, Df> dh;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(in + i))), d, out + i);
#endif
  for (; i < n; ++i) out[i] = f16_to_f32(in[i]);
}
HWY_INLINE void store_f16(const float* in, uint16_t* out, int64_t n) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SSE2 && HWY_TARGET != HWY_SSE4
  const Df d;
  const hn::Rebind<hwy::float16_t, Df> dh;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::DemoteTo(dh, hn::LoadU(d, in + i)), dh, reinterpret_cast<hwy::float16_t*>(out + i));
#endif
  for (; i < n; ++i) out[i] = f32_to_f16(in[i]);
}
HWY_INLINE uint16_t round_bf16(float v) {
  uint32_t u;
  std::memcpy(&u, &v, 4);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>(v != v ? (u >> 16) | 0x40u : rounded);
}

void load_row(DType storage, const void* in, float* out, int64_t n) {
  if (storage == DType::F32) {
    std::memcpy(out, in, static_cast<size_t>(n) * 4);
  } else if (storage == DType::BF16) {
    const auto* s = static_cast<const uint16_t*>(in);
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(s[i]);
  } else {
    load_f16(static_cast<const uint16_t*>(in), out, n);
  }
}
void store_row(DType storage, const float* in, void* out, int64_t n) {
  if (storage == DType::F32) {
    std::memcpy(out, in, static_cast<size_t>(n) * 4);
  } else if (storage == DType::BF16) {
    auto* s = static_cast<uint16_t*>(out);
    for (int64_t i = 0; i < n; ++i) s[i] = round_bf16(in[i]);
  } else {
    store_f16(in, static_cast<uint16_t*>(out), n);
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
