// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "kernels/attention/attention_gen.h"

namespace tuyere::attention {
namespace {

// A block of 128 threads has QB queries of one head. Keys come 128 at a time: a thread scores one key for every query, then owns value columns.
constexpr const char* kKernel = R"CUDA(
typedef $T TGA_T;
typedef $ACC TGA_ACC;
constexpr int TGA_QB = 4, TGA_NV = ($DV + 127) / 128;
extern "C" __global__ void __launch_bounds__(128) tg_attention(TG_PARAMS) {
  __shared__ TGA_ACC sp[TGA_QB][128], red[4], qs[TGA_QB][$D];
  tgm_grid_launch_next();
  const int size_q = $SQ, size_k = $SK, heads = $H, t = (int)threadIdx.x;
  const TGA_ACC NEG = -(TGA_ACC)__uint_as_float(0x7f800000u);
  const int tiles = (size_q + TGA_QB - 1) / TGA_QB;
  int id = (int)blockIdx.x;
  const int q0 = id % tiles * TGA_QB;
  id /= tiles;
  const int h = id % heads, b = id / heads, kvh = h / (heads / $HKV);
  tgm_grid_wait();
  const TGA_T* q = $Q + (TGM_IDX)b * $QB + (TGM_IDX)h * $QH;
  const TGA_T* k = $K + (TGM_IDX)b * $KB + (TGM_IDX)kvh * $KH;
  const TGA_T* v = $V + (TGM_IDX)b * $VB + (TGM_IDX)kvh * $VH;
  for (int i = t; i < TGA_QB * $D; i += 128) {
    int r = i / $D, d = i % $D;
    qs[r][d] = q0 + r < size_q ? tg_cvt<TGA_ACC>(q[(TGM_IDX)(q0 + r) * $QS + (TGM_IDX)d * $QD]) : TGA_ACC(0);
  }
  TGA_ACC acc[TGA_QB][TGA_NV], top[TGA_QB], total[TGA_QB];
#pragma unroll
  for (int r = 0; r < TGA_QB; ++r) {
    top[r] = NEG, total[r] = 0;
#pragma unroll
    for (int n = 0; n < TGA_NV; ++n) acc[r][n] = 0;
  }
  int last = size_k;
  if ($CAUSAL && q0 + TGA_QB < last) last = q0 + TGA_QB;
  __syncthreads();
  for (int k0 = 0; k0 < last; k0 += 128) {
    const int key = k0 + t;
    TGA_ACC s[TGA_QB];
#pragma unroll
    for (int r = 0; r < TGA_QB; ++r) s[r] = 0;
    if (key < size_k)
      for (int d = 0; d < $D; ++d) {
        TGA_ACC x = tg_cvt<TGA_ACC>(k[(TGM_IDX)key * $KS + (TGM_IDX)d * $KD]);
#pragma unroll
        for (int r = 0; r < TGA_QB; ++r) s[r] += x * qs[r][d];
      }
#pragma unroll
    for (int r = 0; r < TGA_QB; ++r) {
      const int row = q0 + r;
      TGA_ACC x = s[r] * (TGA_ACC)$SCALE;
$MASK
      if (key >= size_k || ($CAUSAL && key > row)) x = NEG;
      TGA_ACC most = x;
#pragma unroll
      for (int m = 16; m > 0; m >>= 1) {
        TGA_ACC other = __shfl_xor_sync(0xffffffffu, most, m);
        most = most > other ? most : other;
      }
      __syncthreads();
      if (t % 32 == 0) red[t / 32] = most;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < 4; ++w) most = most > red[w] ? most : red[w];
      most = most > top[r] ? most : top[r];
      const TGA_ACC from = most == NEG ? TGA_ACC(0) : most;
      const TGA_ACC keep = exp(top[r] - from);
      top[r] = most;
      total[r] *= keep;
#pragma unroll
      for (int n = 0; n < TGA_NV; ++n) acc[r][n] *= keep;
      sp[r][t] = exp(x - from);
    }
    __syncthreads();
    const int count = last - k0 < 128 ? last - k0 : 128;
    for (int j = 0; j < count; ++j) {
#pragma unroll
      for (int r = 0; r < TGA_QB; ++r) total[r] += sp[r][j];
#pragma unroll
      for (int n = 0; n < TGA_NV; ++n) {
        const int d = n * 128 + t;
        if (d >= $DV) continue;
        TGA_ACC x = tg_cvt<TGA_ACC>(v[(TGM_IDX)(k0 + j) * $VS + (TGM_IDX)d * $VD]);
#pragma unroll
        for (int r = 0; r < TGA_QB; ++r) acc[r][n] += sp[r][j] * x;
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < TGA_QB; ++r)
#pragma unroll
    for (int n = 0; n < TGA_NV; ++n) {
      const int row = q0 + r, d = n * 128 + t;
      if (row >= size_q || d >= $DV) continue;
      TGA_ACC x = total[r] > 0 ? acc[r][n] / total[r] : TGA_ACC(0);
      tgm_epilogue(TG_ARGS, b, h, row, d, &x, 1);
    }
#pragma unroll
  for (int r = 0; r < TGA_QB; ++r) {
    $LSE
  }
}
)CUDA";

std::string generic_mask_text(const View& v, mma::KernelParams& params) {
  if (v.mask.empty()) return "";
  const std::string load = params.pointer(3, v.mask_type, false) + "[" + mask_offset(v, params, {"b", "h", "row", "key"}) + "]";
  return "      if (row < size_q && key < size_k) { " + (v.mask_type == DType::Bool ? "if (!" + load + ") x = NEG;" : "x += tg_cvt<TGA_ACC>(" + load + ");") +
         " }\n";
}

}  // namespace

mma::KernelSource generic_source(const Problem& problem, const Target& target) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::Epilogue store;
  store.outs = {v.out};
  store.acc = v.type == DType::F64 ? DType::F64 : DType::F32;
  store.coords = 4, store.vec = 3, store.width = 1;
  const std::string epilogue_text = mma::emit_epilogue(store, params);
  char scale[40];
  std::snprintf(scale, sizeof scale, "%.17e", v.scale);
  codegen::Vars vars = operand_vars(v, params);
  vars.insert(vars.end(),
              {{"T", mma::storage_ctype(v.type)}, {"ACC", mma::accumulator_ctype(v.type)}, {"SCALE", scale}, {"MASK", generic_mask_text(v, params)}});
  vars.push_back({"LSE", logsumexp_text(v, params, "t == 0 && q0 + r < size_q", {"b", "h", "q0 + r"}, "total[r] == 0 ? NEG : top[r] + log(total[r])")});
  mma::KernelSource source = mma::one_launch("tg_attention", ceildiv(v.queries, 4) * v.heads * v.batch, 128, params, target);
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kKernel, vars));
  return source;
}

}  // namespace tuyere::attention
