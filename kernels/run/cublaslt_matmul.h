// SPDX-License-Identifier: Apache-2.0
// Descriptors of one matrix product of concrete sizes, in cuBLASLt's terms: it computes the transpose, column-major, with a and b exchanged.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernels/run/cublaslt_library.h"
#include "kernels/run/cublaslt_step.h"

namespace tuyere {

struct LtSizes {
  int64_t m = 0, n = 0, k = 0, batch = 0;
  struct Matrix {
    int64_t row = 0, column = 0, batch = 0;
  } a, b, c, d;
  bool empty() const { return m == 0 || n == 0 || batch == 0; }
  std::vector<int64_t> tuned() const { return {m, n, k, batch}; }
};
Result<LtSizes> lt_sizes(const LtStep& step, const Symbols& symbols);

class LtMatmul {
 public:
  /// Unsupported when a stride is not what cuBLASLt knows.
  static Result<std::unique_ptr<LtMatmul>> make(const CublasLt& lt, const LtStep& step, const LtSizes& sizes);
  ~LtMatmul();
  LtMatmul(const LtMatmul&) = delete;
  LtMatmul& operator=(const LtMatmul&) = delete;

  /// The library's proposals with at most `workspace` bytes.
  Result<std::vector<cublasLtMatmulHeuristicResult_t>> heuristic(cublasLtHandle_t handle, int64_t workspace, int count) const;
  /// Whether `algo` runs this product here, and its workspace.
  Result<int64_t> check_algo(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algo) const;
  /// Tells the descriptor where the bias is.
  Status set_bias(const void* bias) noexcept;
  /// c may be nullptr when the step has none.
  Status run(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algo, const void* a, const void* b, const void* c, void* d, void* workspace, size_t bytes,
             cudaStream_t stream) noexcept;

 private:
  LtMatmul(const CublasLt& lt, const LtStep& step) : lt_(lt), step_(step) {}
  Status init(const LtSizes& sizes);
  Status init_desc(bool transpose_first, bool transpose_second);
  /// rows, columns: of the stored, column-major matrix.
  Status add_layout(cublasLtMatrixLayout_t* layout, DType type, int64_t rows, int64_t columns, int64_t leading, int64_t batch, int64_t batch_stride);

  const CublasLt& lt_;
  LtStep step_;
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t first_ = nullptr, second_ = nullptr, c_ = nullptr, d_ = nullptr;
  const void* bias_ = nullptr;
};

}  // namespace tuyere
