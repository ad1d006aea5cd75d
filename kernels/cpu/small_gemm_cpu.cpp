// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/small_gemm.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/small_gemm_cpu.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
using D = hn::ScalableTag<float>;

// Register block: kRows x kVectors accumulators; what is left takes the rest of the registers.
constexpr int kRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2 ? 6 : 4;
constexpr int kVectors = HWY_TARGET == HWY_AVX3 ? 4 : 2;

struct Block {
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc, k;
  bool accumulate;
  const float* ahead;  // rows as long as those of b that are needed soon, or null
};

/// Fetches `Lines` lines of every row of t.ahead.
template <int M, int N, int Lines>
HWY_INLINE void multiply_block(const Block& t) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[M][N];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) sums[i][j] = hn::Zero(d);
  }
  for (int64_t k = 0; k < t.k; ++k) {
    for (int line = 0; line < Lines; ++line) hwy::Prefetch(t.ahead + k * t.ldb + line * lanes);
    hn::Vec<D> row[N];
    for (int j = 0; j < N; ++j) row[j] = hn::LoadU(d, t.b + k * t.ldb + j * lanes);
    for (int i = 0; i < M; ++i) {
      const auto value = hn::Set(d, t.a[i * t.a_row + k * t.a_column]);
      for (int j = 0; j < N; ++j) sums[i][j] = hn::MulAdd(value, row[j], sums[i][j]);
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) {  // added at the end: short chains of additions are more exact
      float* c = t.c + i * t.ldc + j * lanes;
      hn::StoreU(t.accumulate ? hn::Add(hn::LoadU(d, c), sums[i][j]) : sums[i][j], d, c);
    }
  }
}

template <int M, int N>
HWY_INLINE void multiply_exactly(const Block& t, int64_t m) {
  if constexpr (M > 0) {
    if (m == M) return multiply_block<M, N, 0>(t);
    multiply_exactly<M - 1, N>(t, m);
  }
}

/// Rows of the next block of m: a block of one row or two takes nearly as long as one of four, so that the last two blocks share what is left.
HWY_INLINE int64_t block_rows(int64_t m) { return m <= kRows || m >= 2 * kRows ? HWY_MIN(m, int64_t{kRows}) : (m + 1) / 2; }

template <int N>
HWY_INLINE void multiply_rows(Block t, int64_t m) {
  const auto next = [&](int64_t rows = kRows) {
    m -= rows;
    t.a += rows * t.a_row;
    t.c += rows * t.ldc;
  };
  // Every block fetches one of the N lines that a row of b has here, or the only ones all of them.
  if (t.ahead && m >= N * kRows) {
    for (int line = 0; line < N; ++line, next(), t.ahead += hn::Lanes(D())) multiply_block<kRows, N, 1>(t);
  } else if (t.ahead && m >= kRows) {
    multiply_block<kRows, N, N>(t);
    next();
  }
  while (m > 0) {
    const int64_t rows = block_rows(m);
    multiply_exactly<kRows, N>(t, rows);
    next(rows);
  }
}

template <int N>
HWY_INLINE void multiply_columns(Block t, int64_t m, int64_t n) {
  const auto width = static_cast<int64_t>(hn::Lanes(D())) * N;
  for (; n >= width; n -= width) {
    multiply_rows<N>(t, m);
    t.b += width;
    t.c += width;
    if (t.ahead) t.ahead += width;
  }
  if constexpr (N > 1) multiply_columns<N - 1>(t, m, n);
}

void gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
          const float* ahead) {
  multiply_columns<kVectors>({a, lda, 1, b, ldb, c, ldc, k, accumulate, ahead}, m, n);
}
void gemm_transposed(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
                     const float* ahead) {
  multiply_columns<kVectors>({a, 1, lda, b, ldb, c, ldc, k, accumulate, ahead}, m, n);
}

#if HWY_TARGET == HWY_AVX3
struct PairBlock {
  const uint16_t* a;
  int64_t lda;
  const uint32_t* b;
  int64_t ldb;
  float* c;
  int64_t ldc, k;
  bool accumulate;
};

template <int M, int N>
HWY_INLINE void multiply_pairs(const PairBlock& t) {
  const D d;
  constexpr int64_t kLanes = 16;
  hn::Vec<D> sums[M][N];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) sums[i][j] = hn::Zero(d);
  }
  for (int64_t k = 0; k < t.k; ++k) {
    hn::Vec<D> row[N];
    for (int j = 0; j < N; ++j) row[j] = hn::LoadU(d, reinterpret_cast<const float*>(t.b + k * t.ldb + j * kLanes));
    for (int i = 0; i < M; ++i) {
      float pair;
      std::memcpy(&pair, t.a + i * t.lda + 2 * k, sizeof(pair));
      const auto value = hn::Set(d, pair);
      for (int j = 0; j < N; ++j) sums[i][j] = add_pairs(sums[i][j], row[j], value);
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) {
      float* c = t.c + i * t.ldc + j * kLanes;
      hn::StoreU(t.accumulate ? hn::Add(hn::LoadU(d, c), sums[i][j]) : sums[i][j], d, c);
    }
  }
}

template <int M, int N>
HWY_INLINE void multiply_pair_rows(const PairBlock& t, int64_t m) {
  if constexpr (M > 0) {
    if (m == M) return multiply_pairs<M, N>(t);
    multiply_pair_rows<M - 1, N>(t, m);
  }
}
template <int N>
HWY_INLINE void multiply_pair_columns(PairBlock t, int64_t m, int64_t n) {
  for (; n >= 16 * N; n -= 16 * N, t.b += 16 * N, t.c += 16 * N) {
    PairBlock block = t;
    for (int64_t left = m; left > 0;) {
      const int64_t rows = block_rows(left);
      multiply_pair_rows<kRows, N>(block, rows);
      block.a += rows * t.lda, block.c += rows * t.ldc;
      left -= rows;
    }
  }
  if constexpr (N > 1) multiply_pair_columns<N / 2>(t, m, n);
}
void gemm_pairs(const uint16_t* a, int64_t lda, const uint32_t* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate) {
  multiply_pair_columns<kVectors>({a, lda, b, ldb, c, ldc, k, accumulate}, m, n);
}

void interleave(const uint16_t* first, const uint16_t* second, uint32_t* out, int64_t n) {
  const hn::ScalableTag<uint32_t> du;
  const hn::Rebind<uint16_t, decltype(du)> dh;
  const auto lanes = static_cast<int64_t>(hn::Lanes(du));
  int64_t i = 0;
  for (; second && i + lanes <= n; i += lanes) {
    const auto low = hn::PromoteTo(du, hn::LoadU(dh, first + i)), high = hn::PromoteTo(du, hn::LoadU(dh, second + i));
    hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), du, out + i);
  }
  for (; i < n; ++i) out[i] = first[i] | (second ? uint32_t{second[i]} << 16 : 0);
}

const PairFunctions* pairs() {
  static const PairFunctions functions{gemm_pairs, interleave};
  return rounds_natively() ? &functions : nullptr;
}
#else
const PairFunctions* pairs() { return nullptr; }
#endif

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(gemm);
HWY_EXPORT(gemm_transposed);
HWY_EXPORT(pairs);
void small_gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
                const float* ahead) {
  HWY_DYNAMIC_DISPATCH(gemm)(a, lda, b, ldb, c, ldc, m, n, k, accumulate, ahead);
}
void small_gemm_transposed(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
                           const float* ahead) {
  HWY_DYNAMIC_DISPATCH(gemm_transposed)(a, lda, b, ldb, c, ldc, m, n, k, accumulate, ahead);
}
const PairFunctions* pair_functions() { return HWY_DYNAMIC_DISPATCH(pairs)(); }
}  // namespace tuyere::cpu
#endif
