// SPDX-License-Identifier: Apache-2.0
// cuBLASLt, opened at run time. Only files under TUYERE_WITH_CUDA include this.
#pragma once
#include <cublasLt.h>

#include "common/status.h"

namespace tuyere {

#define TUYERE_CUBLASLT_FUNCTIONS(F)                      \
  F(create, cublasLtCreate)                               \
  F(version, cublasLtGetVersion)                          \
  F(status_text, cublasLtGetStatusString)                 \
  F(desc_create, cublasLtMatmulDescCreate)                \
  F(desc_destroy, cublasLtMatmulDescDestroy)              \
  F(desc_set, cublasLtMatmulDescSetAttribute)             \
  F(layout_create, cublasLtMatrixLayoutCreate)            \
  F(layout_destroy, cublasLtMatrixLayoutDestroy)          \
  F(layout_set, cublasLtMatrixLayoutSetAttribute)         \
  F(preference_create, cublasLtMatmulPreferenceCreate)    \
  F(preference_destroy, cublasLtMatmulPreferenceDestroy)  \
  F(preference_set, cublasLtMatmulPreferenceSetAttribute) \
  F(heuristic, cublasLtMatmulAlgoGetHeuristic)            \
  F(algo_check, cublasLtMatmulAlgoCheck)                  \
  F(matmul, cublasLtMatmul)

struct CublasLt {
#define TUYERE_MEMBER(member, function) decltype(&::function) member = nullptr;
  TUYERE_CUBLASLT_FUNCTIONS(TUYERE_MEMBER)
#undef TUYERE_MEMBER
  int64_t number = 0;  // version

  Status check(cublasStatus_t status, const char* what) const;
  /// The handle of `device`, made at first use (its primary context must be current) and kept until the process ends. Thread-safe.
  Result<cublasLtHandle_t> handle(int device) const;
};

/// FailedPrecondition: no libcublasLt.so.13 or .12; asked again at the next call.
Result<const CublasLt*> cublaslt();

}  // namespace tuyere
