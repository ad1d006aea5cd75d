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
  TGM_ACC acc[4][4][$PRODUCTS + $NORMALIZES] = {};
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
      if ($NORMALIZES && m < size_m) { $FACTOR }
      if (m < size_m && n < size_n) tgm_epilogue(TG_ARGS, $COORDS, acc[i][j], 1);
    }
}
)CUDA";

/// Reads back what the product has stored: a thread per part.
constexpr const char* kSums = R"CUDA(
extern "C" __global__ void __launch_bounds__(256) tg_sums(TG_PARAMS) {
  const int size_m = $M;
  long long id = (long long)blockIdx.x * 256 + (int)threadIdx.x;
  const int n = (int)(id % $PARTS) * $PART;
  id /= $PARTS;
  const int m = (int)(id % size_m);
  int batch = (int)(id / size_m);
  if (batch >= $BATCHES) return;
$BATCH
  tgm_grid_wait();
  const $TYPE* x = $OUT + $OFFSET;
  float sum = 0.f, squares = 0.f;
  for (int j = 0; j < $PART; ++j) sum += tg_cvt<float>(x[(TGM_IDX)j * $STEP]);
  for (int j = 0; j < $PART; ++j) {
    const float apart = tg_cvt<float>(x[(TGM_IDX)j * $STEP]) - sum * (1.f / $PART);
    squares += apart * apart;
  }
  tgn_store(TG_ARGS, $COORDS, sum, squares);
}
)CUDA";

/// The kernel after the product that sums up its results for a norm.
std::string sums_text(const View& v, const std::string& batch, mma::KernelParams& params) {
  const mma::EpilogueTensor& out = v.outs[0];
  const std::string names = batch_names(v);
  std::string offset = "0";
  for (int c = 0; c < v.coords(); ++c) {
    const std::string name = c + 2 < v.coords() ? "b" + std::to_string(c) : c + 1 < v.coords() ? "m" : "n";
    offset += " + (TGM_IDX)" + name + " * (TGM_IDX)" + params.offset(out.strides[c]);
  }
  return codegen::fill(kSums, {{"M", params.size(v.m)},
                               {"PARTS", std::to_string(v.n.value() / kNormPart)},
                               {"PART", std::to_string(kNormPart)},
                               {"BATCHES", params.size(v.batch_count())},
                               {"BATCH", batch},
                               {"TYPE", mma::storage_ctype(out.dtype)},
                               {"OUT", params.pointer(out.position, out.dtype, true)},
                               {"OFFSET", offset},
                               {"STEP", params.offset(out.strides.back())},
                               {"COORDS", names + "m, n"}});
}

}  // namespace

mma::KernelSource generic_source(const Problem& problem, const Target& target) {
  const View v = view(problem);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, v.coords() - 1, 1), params);
  std::vector<std::string> sizes;
  for (const Dim& b : v.batch) sizes.push_back(params.size(b));
  auto k_fast = [](const mma::Matrix& m) { return m.k_major() ? "true" : "false"; };
  const mma::Matrix& second = v.b2 ? *v.b2 : v.b;
  const std::string batch = mma::batch_text(sizes), coords = batch_names(v) + "m, n", products = v.b2 ? "2" : "1";
  const codegen::Vars vars = {{"PRODUCTS", products},
                              {"NORMALIZES", v.norm.in ? "1" : "0"},
                              {"FACTOR", v.norm.in ? "const float2* row = tgn_parts(TG_ARGS, " + coords +
                                                         "); tgn_rows<1, 1> rows; rows.begin(&row), rows.finish(acc[i][j] + " + products + ");"
                                                   : ""},
                              {"ACC", mma::accumulator_ctype(v.a.dtype)},
                              {"AT", mma::storage_ctype(v.a.dtype)},
                              {"BT", mma::storage_ctype(v.b.dtype)},
                              {"M", params.size(v.m)},
                              {"N", params.size(v.n)},
                              {"K", params.size(v.k)},
                              {"BATCH", batch},
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
                              {"COORDS", coords}};
  const std::string body =
      epilogue_text + mma::norm_parts_text(v.norm, v.coords(), params) + codegen::fill(kKernel, vars) + (v.norm.out ? sums_text(v, batch, params) : "");
  mma::KernelSource source = mma::one_launch("tg_matmul", ceildiv(v.m, 64) * ceildiv(v.n, 64) * v.batch_count(), 256, params, target);
  if (v.norm.out) {
    KernelLaunch sums = source.step.launches[0];
    sums.kernel = "tg_sums", sums.grid[0] = ceildiv(v.batch_count() * v.m * Dim(v.n.value() / kNormPart), 256);
    source.step.launches.push_back(sums);
  }
  source.text = mma::assemble(params, mma::needs_wide(problem), body);
  return source;
}

}  // namespace tuyere::matmul
