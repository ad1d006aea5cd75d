// SPDX-License-Identifier: Apache-2.0
// Gated units of any layout: a block per 32 x 32 results, in plain arithmetic.
#include "kernels/api/other_operator.h"
#include "kernels/matmul/matmul_gen.h"

namespace tuyere {
namespace {

constexpr const char* kKernel = R"CUDA(
extern "C" __global__ void __launch_bounds__(256) tg_gated_matmul(TG_PARAMS) {
  constexpr int T = 32, BK = 32;
  __shared__ float sa[BK][T + 1], sb[2][BK][T + 1];
  tgm_grid_launch_next();
  const int size_m = $M, size_n = $N, size_k = $K;
  const int tiles_m = (size_m + T - 1) / T, tiles_n = (size_n + T - 1) / T;
  int id = (int)blockIdx.x;
  const int n0 = id % tiles_n * T;
  id /= tiles_n;
  const int m0 = id % tiles_m * T;
  int batch = id / tiles_m;
$BATCH
  tgm_grid_wait();
  const $TYPE *a = $ABASE, *b[2] = {$B, $B2};
  const int column = (int)threadIdx.x % T, row0 = (int)threadIdx.x / T;
  float acc[2][4] = {};
  for (int k0 = 0; k0 < size_k; k0 += BK) {
    const int k = k0 + column;
    for (int i = 0; i < 4; ++i) {
      const int r = row0 + 8 * i;
      sa[column][r] = m0 + r < size_m && k < size_k ? tg_cvt<float>(a[(TGM_IDX)(m0 + r) * $AROW + (TGM_IDX)k * $AK]) : 0.f;
      for (int q = 0; q < 2; ++q)
        sb[q][column][r] = n0 + r < size_n && k < size_k ? tg_cvt<float>(b[q][(TGM_IDX)(n0 + r) * (q ? $BROW2 : $BROW) + (TGM_IDX)k * (q ? $BK2 : $BK)]) : 0.f;
    }
    __syncthreads();
    for (int j = 0; j < BK; ++j)
      for (int i = 0; i < 4; ++i)
        for (int q = 0; q < 2; ++q) acc[q][i] += sa[j][row0 + 8 * i] * sb[q][j][column];
    __syncthreads();
  }
  const int n = n0 + column;
  for (int i = 0; i < 4; ++i) {
    const int m = m0 + row0 + 8 * i;
    const float x[2] = {acc[0][i], acc[1][i]};
    if (m < size_m && n < size_n) tgm_epilogue(TG_ARGS, $COORDS, x, 1);
  }
}
)CUDA";

}  // namespace

mma::KernelSource matmul::gated_generic_source(const Problem& problem, const Target& target) {
  const View v = view(problem);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, v.coords() - 1, 1), params);
  std::vector<std::string> sizes;
  for (const Dim& b : v.batch) sizes.push_back(params.size(b));
  const codegen::Vars vars = {{"TYPE", mma::storage_ctype(v.a.dtype)},
                              {"M", params.size(v.m)},
                              {"N", params.size(v.n)},
                              {"K", params.size(v.k)},
                              {"BATCH", mma::batch_text(sizes)},
                              {"ABASE", base(v, v.a, params)},
                              {"B", params.pointer(v.b.position, v.b.dtype, false)},
                              {"B2", params.pointer(v.b2->position, v.b2->dtype, false)},
                              {"AROW", params.offset(v.a.row)},
                              {"AK", params.offset(v.a.k)},
                              {"BROW", params.offset(v.b.row)},
                              {"BK", params.offset(v.b.k)},
                              {"BROW2", params.offset(v.b2->row)},
                              {"BK2", params.offset(v.b2->k)},
                              {"COORDS", batch_names(v) + "m, n"}};
  mma::KernelSource source = mma::one_launch("tg_gated_matmul", ceildiv(v.m, 32) * ceildiv(v.n, 32) * v.batch_count(), 256, params, target);
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kKernel, vars));
  return source;
}

class GenericGatedMatMul final : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.gated_matmul.generic"; }
  double estimate(const Problem& p, const Target&, const Config&) const override {
    const mma::GemmSize size = matmul::gemm_size(p, matmul::view(p));
    return 4e-6 + 2.0 * size.m * size.n * size.k * size.batch / 4e12;
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config&) const override { return matmul::gated_generic_source(p, target); }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    REQUIRE(std::holds_alternative<GatedMatMul>(p.op), kOtherOperator);
    REQUIRE(is_float(p.in[0].dtype) && p.in[0].dtype != DType::F64, "sums are kept in f32");
    return Support::yes();
  }
};

DEFINE_TACTIC(GenericGatedMatMul)

}  // namespace tuyere
