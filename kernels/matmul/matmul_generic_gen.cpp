// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_gen.h"

namespace tuyere::matmul {
namespace {

constexpr const char* kKernel = R"CUDA(
typedef $ACC TGM_ACC;
extern "C" __global__ void __launch_bounds__(256) tg_matmul(TG_PARAMS) {
  constexpr int T = 64, BK = 16;
  __shared__ TGM_ACC sa[BK][T + 1], sb[$PRODUCTS][BK][T + 1];
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
  const $AT* a = $ABASE;
  const $BT* b[] = {$BBASE};
  const int t = (int)threadIdx.x, tx = t % 16, ty = t / 16;
  TGM_ACC acc[4][4][$PRODUCTS] = {};
  for (int k0 = 0; k0 < size_k; k0 += BK) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int e = t + i * 256;
      int ra = $A_K_FAST ? e / BK : e % T, ka = $A_K_FAST ? e % BK : e / T;
      int rb = $B_K_FAST ? e / BK : e % T, kb = $B_K_FAST ? e % BK : e / T;
      sa[ka][ra] = m0 + ra < size_m && k0 + ka < size_k ? tg_cvt<TGM_ACC>(a[(TGM_IDX)(m0 + ra) * $AROW + (TGM_IDX)(k0 + ka) * $AK]) : TGM_ACC(0);
#pragma unroll
      for (int q = 0; q < $PRODUCTS; ++q) {
        const TGM_IDX row = q ? $BROW2 : $BROW, step = q ? $BK2 : $BK;
        sb[q][kb][rb] = n0 + rb < size_n && k0 + kb < size_k ? tg_cvt<TGM_ACC>(b[q][(TGM_IDX)(n0 + rb) * row + (TGM_IDX)(k0 + kb) * step]) : TGM_ACC(0);
      }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int q = 0; q < $PRODUCTS; ++q) acc[i][j][q] += sa[k][ty + 16 * i] * sb[q][k][tx + 16 * j];
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      int m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
      if (m < size_m && n < size_n) tgm_epilogue(TG_ARGS, $COORDS, acc[i][j], 1);
    }
}
)CUDA";

}  // namespace

mma::KernelSource generic_source(const Problem& problem, const Target& target) {
  const View v = view(problem);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, v.coords() - 1, 1), params);
  std::vector<std::string> sizes;
  for (const Dim& b : v.batch) sizes.push_back(params.size(b));
  auto k_fast = [](const mma::Matrix& m) { return m.k_major() ? "true" : "false"; };
  const mma::Matrix& second = v.b2 ? *v.b2 : v.b;
  const codegen::Vars vars = {{"PRODUCTS", v.b2 ? "2" : "1"},
                              {"ACC", mma::accumulator_ctype(v.a.dtype)},
                              {"AT", mma::storage_ctype(v.a.dtype)},
                              {"BT", mma::storage_ctype(v.b.dtype)},
                              {"M", params.size(v.m)},
                              {"N", params.size(v.n)},
                              {"K", params.size(v.k)},
                              {"BATCH", mma::batch_text(sizes)},
                              {"ABASE", base(v, v.a, params)},
                              {"BBASE", base(v, v.b, params) + (v.b2 ? ", " + base(v, *v.b2, params) : "")},
                              {"A_K_FAST", k_fast(v.a)},
                              {"B_K_FAST", k_fast(v.b)},
                              {"AROW", params.offset(v.a.row)},
                              {"AK", params.offset(v.a.k)},
                              {"BROW", params.offset(v.b.row)},
                              {"BK", params.offset(v.b.k)},
                              {"BROW2", params.offset(second.row)},
                              {"BK2", params.offset(second.k)},
                              {"COORDS", batch_names(v) + "m, n"}};
  mma::KernelSource source = mma::one_launch("tg_matmul", ceildiv(v.m, 64) * ceildiv(v.n, 64) * v.batch_count(), 256, params, target);
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kKernel, vars));
  return source;
}

}  // namespace tuyere::matmul
