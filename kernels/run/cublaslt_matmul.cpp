// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cublaslt_matmul.h"

#include <algorithm>

namespace tuyere {
namespace {

constexpr uintptr_t kBiasAlignment = 16;

Result<cudaDataType_t> cuda_type(DType type) {
  switch (type) {
    case DType::F32:
      return CUDA_R_32F;
    case DType::F16:
      return CUDA_R_16F;
    case DType::BF16:
      return CUDA_R_16BF;
    default:
      return Status(Code::Unsupported, "cuBLASLt steps are for f16, bf16 and f32, not " + std::string(name(type)));
  }
}

Result<cublasLtEpilogue_t> epilogue_of(const LtStep& step) {
  const bool bias = step.bias >= 0;
  if (step.act.empty()) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (step.act == "relu") return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  if (step.act == "gelu_tanh") return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return Status(Code::Unsupported, "cuBLASLt has no activation '" + step.act + "'");
}

Status matrix_size(const Dim& dim, const Symbols& symbols, int64_t* out) {
  if (dim.try_eval(symbols, out)) return Status::ok();
  return {Code::Internal, "the size " + dim.str() + " has no value for these shapes"};
}

Status strides_of(const LtMatrix& matrix, const Symbols& symbols, LtSizes::Matrix* out) {
  if (matrix.position < 0) return Status::ok();
  TRY(matrix_size(matrix.strides[0], symbols, &out->row));
  TRY(matrix_size(matrix.strides[1], symbols, &out->column));
  return matrix_size(matrix.strides[2], symbols, &out->batch);
}

Status bad_strides(const char* matrix) {
  return {Code::Unsupported, std::string("cuBLASLt cannot read matrix ") + matrix + ": no stride is 1, or its rows overlap"};
}

}  // namespace

Result<LtSizes> lt_sizes(const LtStep& step, const Symbols& symbols) {
  LtSizes sizes;
  TRY(matrix_size(step.m, symbols, &sizes.m));
  TRY(matrix_size(step.n, symbols, &sizes.n));
  TRY(matrix_size(step.k, symbols, &sizes.k));
  TRY(matrix_size(step.batch, symbols, &sizes.batch));
  TRY(strides_of(step.a, symbols, &sizes.a));
  TRY(strides_of(step.b, symbols, &sizes.b));
  TRY(strides_of(step.c, symbols, &sizes.c));
  TRY(strides_of(step.d, symbols, &sizes.d));
  return sizes;
}

Result<std::unique_ptr<LtMatmul>> LtMatmul::make(const CublasLt& lt, const LtStep& step, const LtSizes& sizes) {
  std::unique_ptr<LtMatmul> made(new LtMatmul(lt, step));
  TRY(made->init(sizes));
  return made;
}

LtMatmul::~LtMatmul() {
  for (cublasLtMatrixLayout_t layout : {first_, second_, c_, d_})
    if (layout) lt_.layout_destroy(layout);
  if (desc_) lt_.desc_destroy(desc_);
}

/// The transposed result d^T (n x m) = b^T (n x k) @ a^T (k x m): the first operand is b, the second a.
Status LtMatmul::init(const LtSizes& s) {
  if (s.k <= 0) return {Code::Unsupported, "a product over no elements"};
  LtLayout first, second, c, d;
  if (!lt_layout(s.n, s.k, s.b.column, s.b.row, &first)) return bad_strides("b");
  if (!lt_layout(s.k, s.m, s.a.column, s.a.row, &second)) return bad_strides("a");
  if (!lt_layout(s.n, s.m, s.d.column, s.d.row, &d) || d.transposed) return bad_strides("d");
  const bool has_c = step_.c.position >= 0;
  if (has_c && (!lt_layout(s.n, s.m, s.c.column, s.c.row, &c) || c.transposed)) return bad_strides("c");
  TRY(init_desc(first.transposed, second.transposed));
  TRY(add_layout(&first_, step_.type, first.transposed ? s.k : s.n, first.transposed ? s.n : s.k, first.leading, s.batch, s.b.batch));
  TRY(add_layout(&second_, step_.type, second.transposed ? s.m : s.k, second.transposed ? s.k : s.m, second.leading, s.batch, s.a.batch));
  TRY(add_layout(&d_, step_.out, s.n, s.m, d.leading, s.batch, s.d.batch));
  return has_c ? add_layout(&c_, step_.out, s.n, s.m, c.leading, s.batch, s.c.batch) : add_layout(&c_, step_.out, s.n, s.m, d.leading, s.batch, s.d.batch);
}

Status LtMatmul::init_desc(bool transpose_first, bool transpose_second) {
  const bool tf32 = step_.tf32 && step_.type == DType::F32;
  TRY(lt_.check(lt_.desc_create(&desc_, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate"));
  const int32_t first = transpose_first ? CUBLAS_OP_T : CUBLAS_OP_N, second = transpose_second ? CUBLAS_OP_T : CUBLAS_OP_N;
  TRY(lt_.check(lt_.desc_set(desc_, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "cuBLASLt transa"));
  TRY(lt_.check(lt_.desc_set(desc_, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "cuBLASLt transb"));
  TRY_ASSIGN(const cublasLtEpilogue_t kind, epilogue_of(step_));
  const uint32_t epilogue = kind;
  TRY(lt_.check(lt_.desc_set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "cuBLASLt epilogue"));
  if (step_.bias < 0) return Status::ok();
  TRY_ASSIGN(const cudaDataType_t type, cuda_type(step_.out));
  const int32_t bias_type = type;
  TRY(lt_.check(lt_.desc_set(desc_, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type, sizeof bias_type), "cuBLASLt bias type"));
  return set_bias(reinterpret_cast<const void*>(kBiasAlignment));  // heuristics look at the address, for its alignment only
}

Status LtMatmul::add_layout(cublasLtMatrixLayout_t* layout, DType dtype, int64_t rows, int64_t columns, int64_t leading, int64_t batch, int64_t batch_stride) {
  TRY_ASSIGN(const cudaDataType_t type, cuda_type(dtype));
  TRY(lt_.check(lt_.layout_create(layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), leading), "cublasLtMatrixLayoutCreate"));
  if (batch <= 1) return Status::ok();
  const int32_t count = static_cast<int32_t>(batch);
  TRY(lt_.check(lt_.layout_set(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "cuBLASLt batch count"));
  return lt_.check(lt_.layout_set(*layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride, sizeof batch_stride), "cuBLASLt batch stride");
}

Result<std::vector<cublasLtMatmulHeuristicResult_t>> LtMatmul::heuristic(cublasLtHandle_t handle, int64_t workspace, int count) const {
  struct Preference {
    const CublasLt& lt;
    cublasLtMatmulPreference_t value = nullptr;
    ~Preference() {
      if (value) lt.preference_destroy(value);
    }
  } preference{lt_};
  TRY(lt_.check(lt_.preference_create(&preference.value), "cublasLtMatmulPreferenceCreate"));
  const uint64_t bytes = static_cast<uint64_t>(workspace);
  TRY(lt_.check(lt_.preference_set(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes), "cuBLASLt workspace"));
  const LtMatrix& c = step_.c.position >= 0 ? step_.c : step_.d;
  const std::pair<cublasLtMatmulPreferenceAttributes_t, int> alignments[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, step_.b.alignment},
                                                                             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, step_.a.alignment},
                                                                             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c.alignment},
                                                                             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, step_.d.alignment}};
  for (const auto& [attribute, alignment] : alignments) {
    const uint32_t value = static_cast<uint32_t>(alignment);
    TRY(lt_.check(lt_.preference_set(preference.value, attribute, &value, sizeof value), "cuBLASLt alignment"));
  }
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(std::max(count, 1)));
  int found = 0;
  TRY(lt_.check(lt_.heuristic(handle, desc_, first_, second_, c_, d_, preference.value, static_cast<int>(results.size()), results.data(), &found),
                "cublasLtMatmulAlgoGetHeuristic"));
  results.resize(static_cast<size_t>(found));
  std::erase_if(results, [](const cublasLtMatmulHeuristicResult_t& r) { return r.state != CUBLAS_STATUS_SUCCESS; });
  if (results.empty()) return Status(Code::Unsupported, "cuBLASLt has no algorithm for this product");
  return results;
}

Result<int64_t> LtMatmul::check_algo(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algo) const {
  cublasLtMatmulHeuristicResult_t result{};
  TRY(lt_.check(lt_.algo_check(handle, desc_, first_, second_, c_, d_, &algo, &result), "cublasLtMatmulAlgoCheck"));
  return static_cast<int64_t>(result.workspaceSize);
}

Status LtMatmul::set_bias(const void* bias) noexcept {
  if (bias == bias_) return Status::ok();
  TRY(lt_.check(lt_.desc_set(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "cuBLASLt bias"));
  bias_ = bias;
  return Status::ok();
}

Status LtMatmul::run(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algo, const void* a, const void* b, const void* c, void* d, void* workspace,
                     size_t bytes, cudaStream_t stream) noexcept {
  const float alpha = 1, beta = c ? 1.0F : 0.0F;
  return lt_.check(lt_.matmul(handle, desc_, &alpha, b, first_, a, second_, &beta, c ? c : d, c_, d, d_, &algo, workspace, bytes, stream), "cublasLtMatmul");
}

}  // namespace tuyere
#endif
