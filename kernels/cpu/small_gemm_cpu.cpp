// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/small_gemm.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/small_gemm_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

// Register block: kRows x 2 vectors of accumulators.
constexpr int kRows = HWY_TARGET == HWY_AVX3 ? 8 : HWY_TARGET == HWY_AVX2 ? 6 : 4;

struct Block {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc, k;
  bool accumulate;
};

template <int M, int N>
HWY_INLINE void multiply_block(const Block& t) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[M][N];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) sums[i][j] = t.accumulate ? hn::LoadU(d, t.c + i * t.ldc + j * lanes) : hn::Zero(d);
  }
  for (int64_t k = 0; k < t.k; ++k) {
    hn::Vec<D> row[N];
    for (int j = 0; j < N; ++j) row[j] = hn::LoadU(d, t.b + k * t.ldb + j * lanes);
    for (int i = 0; i < M; ++i) {
      const auto value = hn::Set(d, t.a[i * t.lda + k]);
      for (int j = 0; j < N; ++j) sums[i][j] = hn::MulAdd(value, row[j], sums[i][j]);
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) hn::StoreU(sums[i][j], d, t.c + i * t.ldc + j * lanes);
  }
}

template <int N>
HWY_INLINE void multiply_rows(Block t, int64_t m) {
  for (; m >= kRows; m -= kRows) {
    multiply_block<kRows, N>(t);
    t.a += kRows * t.lda;
    t.c += kRows * t.ldc;
  }
  for (; m > 0; --m) {
    multiply_block<1, N>(t);
    t.a += t.lda;
    t.c += t.ldc;
  }
}

void gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t j = 0;
  for (; j + 2 * lanes <= n; j += 2 * lanes) multiply_rows<2>({a, lda, b + j, ldb, c + j, ldc, k, accumulate}, m);
  for (; j < n; j += lanes) multiply_rows<1>({a, lda, b + j, ldb, c + j, ldc, k, accumulate}, m);
}

float dot_product(const float* a, const float* b, int64_t n) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(gemm);
HWY_EXPORT(dot_product);
void small_gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate) {
  HWY_DYNAMIC_DISPATCH(gemm)(a, lda, b, ldb, c, ldc, m, n, k, accumulate);
}
float dot(const float* a, const float* b, int64_t n) { return HWY_DYNAMIC_DISPATCH(dot_product)(a, b, n); }
}  // namespace tuyere::cpu
#endif
