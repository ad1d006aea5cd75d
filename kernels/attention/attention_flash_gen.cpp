// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "kernels/attention/attention_gen.h"
#include "kernels/mma/device_text.h"

namespace tuyere::attention {
namespace {

// Every warp owns 16 queries; a thread holds rows g and g + 8 of the scores. Scores are in units of log 2.
constexpr const char* kKernel = R"CUDA(
constexpr int TGA_Q = $QUERIES, TGA_K = $KEYS, TGA_WARPS = TGA_Q / 16, TGA_THREADS = 32 * TGA_WARPS;
constexpr int TGA_D = $DP, TGA_DV = $DVP, TGA_SN = TGA_K / 8, TGA_ON = TGA_DV / 8;
constexpr bool TGA_KEEP_Q = TGA_D <= 128;
typedef tgm_tile<TGA_Q, TGA_D, 2, true> TgaQ;
typedef tgm_tile<TGA_K, TGA_D, 2, true> TgaK;
typedef tgm_tile<TGA_K, TGA_DV, 2, true> TgaV;
typedef tgm_matrix_loader<TgaQ, TGA_THREADS, $QVEC, false, true, $D_EDGE, TGM_IDX> TgaLoadQ;
typedef tgm_matrix_loader<TgaK, TGA_THREADS, $KVEC, false, true, $D_EDGE, TGM_IDX> TgaLoadK;
typedef tgm_matrix_loader<TgaV, TGA_THREADS, $VVEC, false, true, $DV_EDGE, TGM_IDX> TgaLoadV;

template <class LOADER> TGM_DEV void tga_load(LOADER& load, unsigned smem, int row0) {
  load.row0 = row0;
  load.begin(smem, 0);
  load.end(smem);
}
TGM_DEV float tga_row_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
TGM_DEV float tga_row_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

extern "C" __global__ void __launch_bounds__(TGA_THREADS, 1) tg_flash(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  const int size_q = $SQ, size_k = $SK, heads = $H;
  const float NEG = __uint_as_float(0xff800000u);
  const int tiles = (size_q + TGA_Q - 1) / TGA_Q;
  int id = (int)blockIdx.x;
  /* The longest rows of a causal mask first. */
  const int q0 = ($CAUSAL ? tiles - 1 - id % tiles : id % tiles) * TGA_Q;
  id /= tiles;
  const int h = id % heads, b = id / heads, kvh = h / (heads / $HKV);
  const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, g = lane >> 2, t = lane & 3, j8 = lane >> 3;
  const unsigned sq = tgm_smem(tg_smem), sk = sq + TgaQ::BYTES, sv = sk + 2 * TgaK::BYTES;
  TgaLoadQ lq;
  TgaLoadK lk;
  TgaLoadV lv;
  lq.base = (const char*)($Q + (TGM_IDX)b * $QB + (TGM_IDX)h * $QH);
  lk.base = (const char*)($K + (TGM_IDX)b * $KB + (TGM_IDX)kvh * $KH);
  lv.base = (const char*)($V + (TGM_IDX)b * $VB + (TGM_IDX)kvh * $VH);
  lq.stride_row = $QS, lk.stride_row = $KS, lv.stride_row = $VS;
  lq.stride_k = lk.stride_k = lv.stride_k = 1;
  lq.rows = size_q, lk.rows = lv.rows = size_k;
  lq.k_end = lk.k_end = $D;
  lv.k_end = $DV;
  int k_tiles = (size_k + TGA_K - 1) / TGA_K;
  if ($CAUSAL) {
    int reach = (q0 + TGA_Q + TGA_K - 1) / TGA_K;
    k_tiles = reach < k_tiles ? reach : k_tiles;
  }
  tgm_grid_wait();
  tga_load(lq, sq, q0);
  if (k_tiles > 0) {
    tga_load(lk, sk, 0);
    tga_load(lv, sv, 0);
  }
  tgm_cp_commit();

  float o[TGA_ON][4], top[2] = {NEG, NEG}, total[2] = {0.f, 0.f};
  unsigned qf[TGA_KEEP_Q ? TGA_D / 16 : 1][4];
#pragma unroll
  for (int n = 0; n < TGA_ON; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) o[n][e] = 0.f;

  for (int kt = 0; kt < k_tiles; ++kt) {
    const int k0 = kt * TGA_K;
    if (kt + 1 < k_tiles) {
      tga_load(lk, sk + (kt + 1) % 2 * TgaK::BYTES, k0 + TGA_K);
      tga_load(lv, sv + (kt + 1) % 2 * TgaV::BYTES, k0 + TGA_K);
    }
    tgm_cp_commit();
    tgm_cp_wait<1>();
    __syncthreads();
    const unsigned ks = sk + kt % 2 * TgaK::BYTES, vs = sv + kt % 2 * TgaV::BYTES;
    if (TGA_KEEP_Q && kt == 0) {
#pragma unroll
      for (int d = 0; d < (TGA_KEEP_Q ? TGA_D / 16 : 1); ++d) tgm_ldsm(qf[d], sq + TgaQ::offset(warp * 16 + (lane & 15), d * 2 + (lane >> 4)));
    }
    float s[TGA_SN][4];
#pragma unroll
    for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) s[n][e] = 0.f;
#pragma unroll
    for (int d = 0; d < TGA_D / 16; ++d) {
      unsigned a[4];
      if (TGA_KEEP_Q) {
#pragma unroll
        for (int e = 0; e < 4; ++e) a[e] = qf[TGA_KEEP_Q ? d : 0][e];
      } else {
        tgm_ldsm(a, sq + TgaQ::offset(warp * 16 + (lane & 15), d * 2 + (lane >> 4)));
      }
#pragma unroll
      for (int n = 0; n < TGA_SN; n += 2) {
        unsigned f[4];
        tgm_ldsm(f, ks + TgaK::offset(n * 8 + (j8 >> 1) * 8 + (lane & 7), d * 2 + (j8 & 1)));
        $MMA(s[n], a, f);
        $MMA(s[n + 1], a, f + 2);
      }
    }
    float now[2] = {top[0], top[1]};
    const bool edge = k0 + TGA_K > size_k || ($CAUSAL && k0 + TGA_K - 1 > q0 + warp * 16);
#pragma unroll
    for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = q0 + warp * 16 + g + (e >> 1) * 8, key = k0 + n * 8 + t * 2 + (e & 1);
        float x = s[n][e] * $SCALE;
$MASK
        if (edge && (key >= size_k || ($CAUSAL && key > row))) x = NEG;
        s[n][e] = x;
        now[e >> 1] = fmaxf(now[e >> 1], x);
      }
    float keep[2], from[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      now[r] = tga_row_max(now[r]);
      from[r] = now[r] == NEG ? 0.f : now[r];
      keep[r] = tgm_exp2(top[r] - from[r]);
      top[r] = now[r];
      total[r] *= keep[r];
    }
#pragma unroll
    for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        s[n][e] = tgm_exp2(s[n][e] - from[e >> 1]);
        total[e >> 1] += s[n][e];
      }
#pragma unroll
    for (int n = 0; n < TGA_ON; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] *= keep[e >> 1];
#pragma unroll
    for (int c = 0; c < TGA_K / 16; ++c) {
      unsigned a[4] = {$PACK(s[2 * c][0], s[2 * c][1]), $PACK(s[2 * c][2], s[2 * c][3]), $PACK(s[2 * c + 1][0], s[2 * c + 1][1]), $PACK(s[2 * c + 1][2], s[2 * c + 1][3])};
#pragma unroll
      for (int n = 0; n < TGA_ON; n += 2) {
        unsigned f[4];
        tgm_ldsm_t(f, vs + TgaV::offset(c * 16 + (j8 & 1) * 8 + (lane & 7), n + (j8 >> 1)));
        $MMA(o[n], a, f);
        $MMA(o[n + 1], a, f + 2);
      }
    }
    __syncthreads();
  }
  tgm_cp_wait<0>();
  __syncthreads();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    total[r] = tga_row_sum(total[r]);
    total[r] = total[r] > 0.f ? 1.f / total[r] : 0.f;
  }
  /* 16 columns at a time through the warp's piece of shared memory. */
  float* st = (float*)tg_smem + warp * 16 * 24;
#pragma unroll
  for (int n = 0; n < TGA_ON; n += 2) {
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      *(float2*)(st + g * 24 + p * 8 + t * 2) = make_float2(o[n + p][0] * total[0], o[n + p][1] * total[0]);
      *(float2*)(st + (g + 8) * 24 + p * 8 + t * 2) = make_float2(o[n + p][2] * total[1], o[n + p][3] * total[1]);
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * (16 / TGM_V); i += 32) {
      const int r = i / (16 / TGM_V), c = i % (16 / TGM_V) * TGM_V, row = q0 + warp * 16 + r, column = n * 8 + c;
      float x[TGM_V];
#pragma unroll
      for (int e = 0; e < TGM_V; ++e) x[e] = st[r * 24 + c + e];
      if (row < size_q && column < $DV) tgm_epilogue(TG_ARGS, b, h, row, column, x, $DV - column);
    }
    __syncwarp();
  }
}
)CUDA";

std::string real(double v) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9ef", v);
  return text;
}

std::string mask_text(const View& v, mma::KernelParams& params) {
  if (v.mask.empty()) return "";
  const char* names[] = {"b", "h", "row", "key"};
  std::string at = "0";
  for (int d = 0; d < 4; ++d)
    if (!v.mask[d].is_const(0)) at += std::string(" + (TGM_IDX)") + names[d] + " * " + params.offset(v.mask[d]);
  const std::string load = params.pointer(3, v.mask_type, false) + "[" + at + "]";
  const std::string use = v.mask_type == DType::Bool ? "if (!" + load + ") x = NEG;" : "x += tg_cvt<float>(" + load + ") * 1.4426950408889634f;";
  return "        if (row < size_q && key < size_k) { " + use + " }\n";
}

}  // namespace

int FlashShape::shared_bytes(const View& v) const {
  const int dp = static_cast<int>((v.depth + 15) / 16 * 16), dvp = static_cast<int>((v.value_depth + 15) / 16 * 16);
  return std::max(2 * (queries * dp + 2 * keys * (dp + dvp)), queries / 16 * 16 * 24 * 4);
}

mma::KernelSource flash_source(const Problem& problem, const Target& target, const FlashShape& shape) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::Epilogue store;
  store.outs = {v.out};
  store.coords = 4, store.vec = 3;
  store.width = mma::epilogue_width(store.outs);
  const std::string epilogue_text = mma::emit_epilogue(store, params);
  auto number = [](int64_t i) { return std::to_string(i); };
  auto access = [&](const std::vector<Dim>& s) { return number(mma::access_bytes({0, v.type, s[2], 1, {s[0], s[1]}, v.alignment})); };
  codegen::Vars vars = {{"QUERIES", number(shape.queries)},
                        {"KEYS", number(shape.keys)},
                        {"DP", number((v.depth + 15) / 16 * 16)},
                        {"DVP", number((v.value_depth + 15) / 16 * 16)},
                        {"D", number(v.depth)},
                        {"DV", number(v.value_depth)},
                        {"D_EDGE", v.depth % 16 ? "true" : "false"},
                        {"DV_EDGE", v.value_depth % 16 ? "true" : "false"},
                        {"QVEC", access(v.q)},
                        {"KVEC", access(v.k)},
                        {"VVEC", access(v.v)},
                        {"SQ", params.size(v.queries)},
                        {"SK", params.size(v.keys)},
                        {"H", params.size(v.heads)},
                        {"HKV", params.size(v.kv_heads)},
                        {"CAUSAL", v.causal ? "true" : "false"},
                        {"SCALE", real(v.scale * 1.4426950408889634)},
                        {"MASK", mask_text(v, params)},
                        {"MMA", v.type == DType::F16 ? "tgm_mma_f16" : "tgm_mma_bf16"},
                        {"PACK", v.type == DType::F16 ? "tgm_pack_f16" : "tgm_pack_bf16"}};
  const char* names[] = {"Q", "K", "V"};
  const std::vector<Dim>* strides[] = {&v.q, &v.k, &v.v};
  for (int i = 0; i < 3; ++i) {
    const std::string n = names[i];
    vars.insert(vars.end(), {{n, params.pointer(i, v.type, false)},
                             {n + "B", params.offset((*strides[i])[0])},
                             {n + "H", params.offset((*strides[i])[1])},
                             {n + "S", params.offset((*strides[i])[2])}});
  }
  mma::KernelSource source;
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + mma::tile_text() + codegen::fill(kKernel, vars));
  KernelLaunch launch;
  launch.kernel = "tg_flash";
  launch.grid = {ceildiv(v.queries, shape.queries) * v.heads * v.batch, 1, 1};
  launch.block = {shape.queries * 2, 1, 1};
  launch.shared_bytes = shape.shared_bytes(v);
  launch.pdl = target.sm >= 90;
  launch.args = params.args();
  source.step.launches.push_back(launch);
  source.workspace = 0;
  return source;
}

}  // namespace tuyere::attention
