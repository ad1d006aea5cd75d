// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

#include <algorithm>

namespace tuyere::conv {
namespace {

// A thread makes ROWS x COLS outputs of VEC channels, row of input by row: every input vector is read once per thread and used for all windows that hold it.
// Outside vectors are zeros by predicate, not by branch, so that the loads of several rows are in flight together. Weights lie in shared memory as
// [tap][channel] floats.
constexpr const char* kKernel = R"CUDA(
typedef $T TGD_T;
template <int VEC> TGM_DEV void tgd_load(float (&out)[VEC], const TGD_T* p, bool inside, int left) {
  if ($FULL) {
    TGD_T raw[VEC] = {};
    if (inside) tg_load<VEC>(raw, p);
#pragma unroll
    for (int e = 0; e < VEC; ++e) out[e] = tg_cvt<float>(raw[e]);
  } else {
#pragma unroll
    for (int e = 0; e < VEC; ++e) out[e] = inside && e < left ? tg_cvt<float>(p[e]) : 0.f;
  }
}
template <int VEC> TGM_DEV void tgd_weights(float (&w)[VEC], const float* p) {
#pragma unroll
  for (int e = 0; e < VEC; e += 4) {
    const float4 q = *reinterpret_cast<const float4*>(p + e);
    w[e] = q.x, w[e + 1] = q.y, w[e + 2] = q.z, w[e + 3] = q.w;
  }
}
template <int VEC> TGM_DEV void tgd_add(float (&acc)[VEC], const float (&v)[VEC], const float (&w)[VEC]) {
#pragma unroll
  for (int e = 0; e < VEC; ++e) acc[e] = fmaf(v[e], w[e], acc[e]);
}
extern "C" __global__ void __launch_bounds__(256, $BLOCKS) tg_depthwise(TG_PARAMS) {
  constexpr int VEC = $VEC, CT = $CT, PT = 256 / CT, ROWS = $ROWS, COLS = $COLS, KH = $KH, KW = $KW, CB = CT * VEC, C = $C;
  constexpr int IN_ROWS = (ROWS - 1) * $SH + (KH - 1) * $DH + 1, IN_COLS = (COLS - 1) * $SW + (KW - 1) * $DW + 1;
  __shared__ __align__(16) float weights[KH * KW * CB];
  tgm_grid_launch_next();
  const int in_h = $IH, in_w = $IW, out_h = $OH, out_w = $OW;
  const int chunk = (int)blockIdx.x % ((C + CB - 1) / CB);
  const int blocks_h = (out_h + ROWS - 1) / ROWS, blocks_w = (out_w + COLS - 1) / COLS;
  const int groups = $BATCH * blocks_h * blocks_w;
  if (!$W_CONSTANT) tgm_grid_wait();
  for (int i = (int)threadIdx.x; i < KH * KW * CB; i += 256) {
    int c = chunk * CB + i / (KH * KW), tap = i % (KH * KW);
    weights[tap * CB + i / (KH * KW)] = c < C ? tg_cvt<float>($W[(TGM_IDX)c * $WO + (TGM_IDX)(tap / KW) * $WH + (TGM_IDX)(tap % KW) * $WW]) : 0.f;
  }
  if ($W_CONSTANT) tgm_grid_wait();
  __syncthreads();
  const int ct = (int)threadIdx.x % CT, c = chunk * CB + ct * VEC;
  int group = (int)blockIdx.x / ((C + CB - 1) / CB) * PT + (int)threadIdx.x / CT;
  if (group >= groups || c >= C) return;
  const int w0 = group % blocks_w * COLS;
  group /= blocks_w;
  const int h0 = group % blocks_h * ROWS, n = group / blocks_h;
  const TGD_T* x = $X + (TGM_IDX)n * $XN + c;
  float acc[ROWS][COLS][VEC];
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
#pragma unroll
    for (int t = 0; t < COLS; ++t)
#pragma unroll
      for (int e = 0; e < VEC; ++e) acc[r][t][e] = 0.f;
$UNROLL_ROWS
  for (int ir = 0; ir < IN_ROWS; ++ir) {
    const int ih = h0 * $SH - $PH + ir;
    bool used = false;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) used = used || (ir >= r * $SH && (ir - r * $SH) % $DH == 0 && (ir - r * $SH) / $DH < KH);
    if (!used) continue;
    const bool row_inside = (unsigned)ih < (unsigned)in_h;
    const TGD_T* row = x + (TGM_IDX)ih * $XH;
    // Wide windows do not fit the registers: their vectors come and go one by one.
    constexpr int HELD = IN_COLS * VEC <= 96 ? IN_COLS : 1;
    float v[HELD][VEC];
    if (HELD > 1) {
#pragma unroll
      for (int ic = 0; ic < HELD; ++ic) {
        const int iw = w0 * $SW - $PW + ic;
        tgd_load<VEC>(v[ic], row + (TGM_IDX)iw * $XW, row_inside && (unsigned)iw < (unsigned)in_w, C - c);
      }
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int kh = (ir - r * $SH) / $DH;
        if (ir < r * $SH || (ir - r * $SH) % $DH != 0 || kh >= KH) continue;
#pragma unroll
        for (int kw = 0; kw < KW; ++kw) {
          float w[VEC];
          tgd_weights<VEC>(w, weights + (kh * KW + kw) * CB + ct * VEC);
#pragma unroll
          for (int t = 0; t < COLS; ++t) tgd_add<VEC>(acc[r][t], v[(t * $SW + kw * $DW) % HELD], w);
        }
      }
      continue;
    }
    for (int ic = 0; ic < IN_COLS; ++ic) {
      const int iw = w0 * $SW - $PW + ic;
      tgd_load<VEC>(v[0], row + (TGM_IDX)iw * $XW, row_inside && (unsigned)iw < (unsigned)in_w, C - c);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int kh = (ir - r * $SH) / $DH;
        if (ir < r * $SH || (ir - r * $SH) % $DH != 0 || kh >= KH) continue;
#pragma unroll
        for (int t = 0; t < COLS; ++t) {
          const int k = ic - t * $SW;
          if (k < 0 || k % $DW != 0 || k / $DW >= KW) continue;
          float w[VEC];
          tgd_weights<VEC>(w, weights + (kh * KW + k / $DW) * CB + ct * VEC);
          tgd_add<VEC>(acc[r][t], v[0], w);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
#pragma unroll
    for (int t = 0; t < COLS; ++t) {
      const int oh = h0 + r, ow = w0 + t;
      if (oh >= out_h || ow >= out_w) continue;
      const int pixel = (n * out_h + oh) * out_w + ow;
      tgm_epilogue(TG_ARGS, $COORDS, acc[r][t], $FULL ? VEC : C - c);
    }
}
)CUDA";

}  // namespace

DepthwiseShape parse_depthwise(const Config& config) {
  const bool bounded = !mma::config_value(config, "blocks").empty();
  return {mma::config_ints(config, "columns")[0], mma::config_ints(config, "rows")[0], bounded ? mma::config_ints(config, "blocks")[0] : 1};
}

mma::KernelSource depthwise_source(const Problem& problem, const Target& target, const DepthwiseShape& shape) {
  const View v = view(problem);
  const int element = mma::size_of(v.type), vec = std::min(8, 16 / element);
  bool aligned = v.x_alignment % 16 == 0 && mma::divisible(v.x_batch, vec);
  for (const Dim& s : v.x_space) aligned = aligned && mma::divisible(s, vec);
  const int64_t taps = v.taps();
  int threads_c = 1;
  while (threads_c < 32 && threads_c * vec < v.groups && taps * (threads_c * 2) * vec * 4 <= 40 * 1024) threads_c *= 2;
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, vec), params);
  auto number = [](int64_t i) { return std::to_string(i); };
  codegen::Vars vars = {{"T", mma::storage_ctype(v.type)},
                        {"FULL", aligned && v.groups % vec == 0 ? "true" : "false"},
                        {"W_CONSTANT", problem.in[1].constant ? "true" : "false"},
                        {"BLOCKS", number(shape.blocks)},
                        {"VEC", number(vec)},
                        {"CT", number(threads_c)},
                        {"ROWS", number(shape.rows)},
                        {"COLS", number(shape.columns)},
                        {"C", number(v.groups)},
                        {"BATCH", params.size(v.batch)},
                        {"X", params.pointer(0, v.type, false)},
                        {"W", params.pointer(1, v.type, false)},
                        {"XN", params.offset(v.x_batch)},
                        {"WO", params.offset(v.w_out)},
                        {"COORDS", coords(v, params, "pixel", "c")},
                        {"UNROLL_ROWS", taps <= 64 ? "#pragma unroll" : "#pragma unroll 1"}};
  add_spatial_vars(v, params, 1, vars);
  mma::KernelSource source;
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kKernel, vars));
  KernelLaunch launch;
  launch.kernel = "tg_depthwise";
  const Dim groups = v.batch * ceildiv(v.out[1], shape.rows) * ceildiv(v.out[2], shape.columns);
  launch.grid = {ceildiv(groups, 256 / threads_c) * Dim((v.groups + threads_c * vec - 1) / (threads_c * vec)), 1, 1};
  launch.block = {256, 1, 1};
  launch.pdl = target.sm >= 90;
  launch.args = params.args();
  source.step.launches.push_back(launch);
  source.workspace = 0;
  return source;
}

}  // namespace tuyere::conv
