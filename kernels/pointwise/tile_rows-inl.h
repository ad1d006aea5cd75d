// SPDX-License-Identifier: Apache-2.0
// Rows over Highway vectors: maps and conversions. Included once per target.
#include <cmath>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/pointwise/tile_math-inl.h"
#include "kernels/pointwise/tile_simd.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
constexpr int64_t kMaxLanes = HWY_MAX_BYTES / 4;

/// The first `count` < Lanes values at p, then `pad`. Reads nothing behind them.
HWY_INLINE hn::Vec<Df> load_tail(Df d, const float* p, int64_t count, float pad) {
#if HWY_TARGET == HWY_AVX3
  return hn::Vec<Df>{_mm512_mask_loadu_ps(hn::Set(d, pad).raw, static_cast<__mmask16>((1u << count) - 1), p)};
#else
  float tail[kMaxLanes];
  for (float& t : tail) t = pad;
  std::memcpy(tail, p, static_cast<size_t>(count) * 4);
  return hn::LoadU(d, tail);
#endif
}
HWY_INLINE void store_tail(Df d, hn::Vec<Df> v, float* p, int64_t count) {
#if HWY_TARGET == HWY_AVX3
  (void)d;
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), v.raw);
#else
  float tail[kMaxLanes];
  hn::StoreU(v, d, tail);
  std::memcpy(p, tail, static_cast<size_t>(count) * 4);
#endif
}

/// out[i] = f(in[i]); the tail is a part of a vector.
template <class F>
HWY_INLINE void map_row(const float* in, float* out, int64_t n, F f) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, in + i)), d, out + i);
  if (i < n) store_tail(d, f(d, load_tail(d, in + i, n - i, 0.0f)), out + i, n - i);
}

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
/// A vector of bf16 values.
HWY_INLINE hn::Vec<Df> load_short(Df d, const uint16_t* in) {
  const hn::RebindToUnsigned<Df> du;
  const hn::Rebind<uint16_t, Df> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, in))));
}
/// The first `count` < Lanes of them, then zeros. Reads nothing behind them.
HWY_INLINE hn::Vec<Df> load_short_tail(Df d, const uint16_t* in, int64_t count) {
#if HWY_TARGET == HWY_AVX3
  (void)d;
  const __m256i part = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), in);
  return hn::Vec<Df>{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(part), 16))};
#else
  uint16_t tail[kMaxLanes] = {};
  std::memcpy(tail, in, static_cast<size_t>(count) * 2);
  return load_short(d, tail);
#endif
}
HWY_INLINE void load_bf16(const uint16_t* in, float* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load_short(d, in + i), d, out + i);
  if (i < n) store_tail(d, load_short_tail(d, in + i, n - i), out + i, n - i);
}
/// A vector as bf16 values.
HWY_INLINE void store_short(hn::Vec<Df> v, uint16_t* out) {
  const hn::RebindToUnsigned<Df> du;
  const hn::RebindToSigned<Df> di;
  const hn::Rebind<uint16_t, Df> dh;
  const auto u = hn::BitCast(du, v), high = hn::ShiftRight<16>(u);
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(u, hn::Set(du, 0x7fffu)), hn::And(high, hn::Set(du, 1u))));
  const auto quiet = hn::Or(high, hn::Set(du, 0x40u));
  const auto bits = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, bits)), dh, out);
}
/// Whether the machine rounds to bf16 and multiplies pairs (AVX512-BF16, which Highway's targets know only as a part of others).
inline bool rounds_natively() {
#if HWY_TARGET == HWY_AVX3
  static const bool found = __builtin_cpu_supports("avx512bf16");
  return found;
#else
  return false;
#endif
}
#if HWY_TARGET == HWY_AVX3
/// sums += the products of bf16 pairs, where rounds_natively().
HWY_INLINE hn::Vec<Df> add_pairs(hn::Vec<Df> sums, hn::Vec<Df> a, hn::Vec<Df> b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sums.raw) : "v"(a.raw), "v"(b.raw));
  return sums;
}
#endif
/// kNative: rounds_natively(). Values below the normal range then become zero.
template <bool kNative>
HWY_INLINE void store_rounded(hn::Vec<Df> v, uint16_t* out) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kNative) {
    __m256i bits;
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(v.raw));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bits);
    return;
  }
#endif
  store_short(v, out);
}
/// The first `count` < Lanes of them. Writes nothing behind them.
template <bool kNative>
HWY_INLINE void store_rounded_tail(hn::Vec<Df> v, uint16_t* out, int64_t count) {
  uint16_t tail[kMaxLanes];
  store_rounded<kNative>(v, tail);
#if HWY_TARGET == HWY_AVX3
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tail));
  _mm256_mask_storeu_epi16(out, static_cast<__mmask16>((1u << count) - 1), bits);
#else
  std::memcpy(out, tail, static_cast<size_t>(count) * 2);
#endif
}
template <bool kNative>
HWY_INLINE void round_row(const float* in, uint16_t* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_rounded<kNative>(hn::LoadU(d, in + i), out + i);
  if (i < n) store_rounded_tail<kNative>(load_tail(d, in + i, n - i, 0.0f), out + i, n - i);
}

/// Bytes as 0 and 1.
HWY_INLINE void load_bool(const uint8_t* in, float* out, int64_t n) {
  const Df d;
  const hn::RebindToUnsigned<Df> du;
  const hn::RebindToSigned<Df> di;
  const hn::Rebind<uint8_t, Df> db;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto bit = hn::Min(hn::PromoteTo(du, hn::LoadU(db, in + i)), hn::Set(du, 1u));
    hn::StoreU(hn::ConvertTo(d, hn::BitCast(di, bit)), d, out + i);
  }
  for (; i < n; ++i) out[i] = in[i] != 0 ? 1.0f : 0.0f;
}
HWY_INLINE void load_i32(const int32_t* in, float* out, int64_t n) {
  const Df d;
  const hn::RebindToSigned<Df> di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::ConvertTo(d, hn::LoadU(di, in + i)), d, out + i);
  for (; i < n; ++i) out[i] = static_cast<float>(in[i]);
}

template <class From, class To, void (*kMove)(const From*, To*, int64_t)>
HWY_INLINE void each_row(const void* in, int64_t in_row, void* out, int64_t out_row, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) kMove(static_cast<const From*>(in) + r * in_row, static_cast<To*>(out) + r * out_row, n);
}
HWY_INLINE void copy_f32(const float* in, float* out, int64_t n) { std::memcpy(out, in, static_cast<size_t>(n) * 4); }

inline void load_rows(DType storage, const void* in, int64_t in_row, float* out, int64_t out_row, int64_t rows, int64_t n) {
  switch (storage) {
    case DType::Bool:
      return each_row<uint8_t, float, load_bool>(in, in_row, out, out_row, rows, n);
    case DType::I32:
      return each_row<int32_t, float, load_i32>(in, in_row, out, out_row, rows, n);
    case DType::F32:
      return each_row<float, float, copy_f32>(in, in_row, out, out_row, rows, n);
    case DType::BF16:
      return each_row<uint16_t, float, load_bf16>(in, in_row, out, out_row, rows, n);
    default:
      return each_row<uint16_t, float, load_f16>(in, in_row, out, out_row, rows, n);
  }
}
inline void store_rows(DType storage, const float* in, int64_t in_row, void* out, int64_t out_row, int64_t rows, int64_t n) {
  switch (storage) {
    case DType::F32:
      return each_row<float, float, copy_f32>(in, in_row, out, out_row, rows, n);
    case DType::BF16:
      if (rounds_natively()) return each_row<float, uint16_t, round_row<true>>(in, in_row, out, out_row, rows, n);
      return each_row<float, uint16_t, round_row<false>>(in, in_row, out, out_row, rows, n);
    default:
      return each_row<float, uint16_t, store_f16>(in, in_row, out, out_row, rows, n);
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
