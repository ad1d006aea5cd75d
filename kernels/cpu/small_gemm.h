// SPDX-License-Identifier: Apache-2.0
// GEMMs over blocks that lie in cache, in f32, compiled for several instruction sets.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// Columns of b and c are padded to a multiple of this.
constexpr int64_t kGemmColumns = 16;
inline int64_t padded_columns(int64_t n) { return (n + kGemmColumns - 1) / kGemmColumns * kGemmColumns; }

/// c[m, n] = a[m, k] @ b[k, n] (+ c when accumulate). n is a multiple of kGemmColumns; row strides in elements.
void small_gemm(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate);
/// The same with a transposed: a[k, m].
void small_gemm_transposed(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool accumulate);

}  // namespace tuyere::cpu
