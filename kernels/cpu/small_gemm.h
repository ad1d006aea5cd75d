// SPDX-License-Identifier: Apache-2.0
// GEMMs over blocks that lie in cache, in f32, compiled for several instruction sets.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// Columns of b and c are padded to a multiple of this.
constexpr int64_t kGemmColumns = 16;
inline int64_t padded_columns(int64_t n) { return (n + kGemmColumns - 1) / kGemmColumns * kGemmColumns; }

/// Rows that share a row of b in registers.
constexpr int64_t kGemmRows = 6;

/// Products that are added up at once where sums are longer: as much of b as stays in the first cache.
constexpr int64_t kGemmDepth = 96;
/// The length of the equal parts of a sum of `k` products.
inline int64_t gemm_depth(int64_t k) {
  const int64_t parts = (k + kGemmDepth - 1) / kGemmDepth;
  return parts > 1 ? (k + parts - 1) / parts : k;
}

/// c[m, n] = a[m, k] @ b[k, n], a sum of its own that is added to c when accumulate. n is a multiple of kGemmColumns; row strides in elements.
/// While b is multiplied, what the next call needs can come from memory: `ahead` is such a b, with the same stride, or null.
void small_gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
                const float* ahead = nullptr);
/// The same with a transposed: a[k, m].
void small_gemm_transposed(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate,
                           const float* ahead = nullptr);

/// c[m, n] = a @ b, or c += a @ b, with `k` pairs of bf16 values: a is [m, 2 * k], b holds the pairs of every column, [k, n] words. Sums are f32. n as above.
using PairGemm = void (*)(const uint16_t* a, int64_t lda, const uint32_t* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k,
                          bool accumulate);
struct PairFunctions {
  PairGemm gemm;
  /// Two rows of n bf16 values as one of pairs; null: a row of zeros.
  void (*interleave)(const uint16_t* first, const uint16_t* second, uint32_t* out, int64_t n);
};
/// Null where the machine has no instruction for such products.
const PairFunctions* pair_functions();

}  // namespace tuyere::cpu
