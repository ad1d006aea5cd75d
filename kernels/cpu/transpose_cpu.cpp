// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/transpose.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/transpose_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
/// Transposes the square in each block of 16 bytes of the vectors: each stage interleaves the halves of the list of rows.
template <class D>
HWY_INLINE void transpose_registers(D d, hn::Vec<D>* a) {
  constexpr int kSize = 16 / sizeof(hn::TFromD<D>);
  hn::Vec<D> b[kSize];
  for (int stage = 1; stage < kSize; stage *= 2) {
    for (int r = 0; r < kSize / 2; ++r) {
      b[2 * r] = hn::InterleaveLower(d, a[r], a[r + kSize / 2]);
      b[2 * r + 1] = hn::InterleaveUpper(d, a[r], a[r + kSize / 2]);
    }
    for (int r = 0; r < kSize; ++r) a[r] = b[r];
  }
}
#endif

/// out[c, r] = in[r, c] of a square that fills 16-byte vectors.
template <class T>
HWY_INLINE void transpose_square(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr int kSize = 16 / sizeof(T);
#if HWY_TARGET == HWY_SCALAR
  for (int r = 0; r < kSize; ++r) {
    for (int c = 0; c < kSize; ++c) out[c * out_stride + r] = in[r * in_stride + c];
  }
#else
  const hn::Full128<T> d;
  hn::Vec<decltype(d)> a[kSize];
  for (int r = 0; r < kSize; ++r) a[r] = hn::LoadU(d, in + r * in_stride);
  transpose_registers(d, a);
  for (int r = 0; r < kSize; ++r) hn::StoreU(a[r], d, out + r * out_stride);
#endif
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#define TUYERE_WIDE_TRANSPOSE 1
/// Block k of 16 bytes is at from + k * step.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const hn::TFromD<D>* from, int64_t step) {
  if constexpr (hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) == 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    constexpr int64_t kBlocks = hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) / 32;
    return hn::Combine(d, load_blocks(half, from + kBlocks * step, step), load_blocks(half, from, step));
  }
}

/// The same of as many rows as a whole vector has lanes, and 16 bytes of columns: a square in each block of the vectors.
template <class T>
HWY_INLINE void transpose_wide(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr int kSize = 16 / sizeof(T);
  const hn::ScalableTag<T> d;
  hn::Vec<decltype(d)> a[kSize];
  for (int r = 0; r < kSize; ++r) a[r] = load_blocks(d, in + r * in_stride, kSize * in_stride);
  transpose_registers(d, a);
  for (int r = 0; r < kSize; ++r) hn::StoreU(a[r], d, out + r * out_stride);
}
#else
#define TUYERE_WIDE_TRANSPOSE 0
#endif

/// out[c, r] = in[r, c]; neighbours lie along c in `in` and along r in `out`. Goes by whole cache lines on both sides.
template <class T>
void transpose_block(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows, int64_t cols) {
  constexpr int64_t kSize = 16 / sizeof(T), kLine = 64 / sizeof(T);
  for (int64_t c0 = 0; c0 < cols; c0 += kLine) {
    const int64_t c1 = HWY_MIN(cols, c0 + kLine);
    for (int64_t r0 = 0; r0 < rows; r0 += kLine) {
      const int64_t r1 = HWY_MIN(rows, r0 + kLine), whole_r = r0 + (r1 - r0) / kSize * kSize, whole_c = c0 + (c1 - c0) / kSize * kSize;
      for (int64_t c = c0; c < whole_c; c += kSize) {
        int64_t r = r0;
#if TUYERE_WIDE_TRANSPOSE
        constexpr auto kWide = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
        for (; r + kWide <= whole_r; r += kWide) transpose_wide(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
#endif
        for (; r < whole_r; r += kSize) transpose_square(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
      }
      for (int64_t r = whole_r; r < r1; ++r) {
        for (int64_t c = c0; c < whole_c; ++c) out[c * out_stride + r] = in[r * in_stride + c];
      }
      for (int64_t c = whole_c; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) out[c * out_stride + r] = in[r * in_stride + c];
      }
    }
  }
}

#define TUYERE_TRANSPOSE(T)                                                                                    \
  void transpose_##T(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows, int64_t cols) { \
    transpose_block(in, in_stride, out, out_stride, rows, cols);                                               \
  }
TUYERE_TRANSPOSE(uint8_t)
TUYERE_TRANSPOSE(uint16_t)
TUYERE_TRANSPOSE(uint32_t)
TUYERE_TRANSPOSE(uint64_t)
TUYERE_TRANSPOSE(float)
#undef TUYERE_TRANSPOSE
#undef TUYERE_WIDE_TRANSPOSE

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
#define TUYERE_TRANSPOSE(T)                                                                                \
  HWY_EXPORT(transpose_##T);                                                                               \
  void transpose(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows, int64_t cols) { \
    HWY_DYNAMIC_DISPATCH(transpose_##T)(in, in_stride, out, out_stride, rows, cols);                       \
  }
TUYERE_TRANSPOSE(uint8_t)
TUYERE_TRANSPOSE(uint16_t)
TUYERE_TRANSPOSE(uint32_t)
TUYERE_TRANSPOSE(uint64_t)
TUYERE_TRANSPOSE(float)
#undef TUYERE_TRANSPOSE
}  // namespace tuyere::cpu
#endif
