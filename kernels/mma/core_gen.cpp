// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/device_text.h"

namespace tuyere::mma {

// Both cores expect: TGM_BM, TGM_BN, TGM_BK, TGM_WARPS_M, TGM_WARPS_N, TGM_V (elements per epilogue call) and the tile types TgmA, TgmB.
// They hand accumulators to `out(row, column, values[TGM_V])`, tile coordinates.
const char* mma_core_text() {
  return R"CUDA(
constexpr int TGM_WM = TGM_BM / TGM_WARPS_M, TGM_WN = TGM_BN / TGM_WARPS_N, TGM_MI = TGM_WM / 16, TGM_NI = TGM_WN / 8;
constexpr int TGM_STAGE_BYTES = TgmA::BYTES + TgmB::BYTES;

struct tgm_core {
  float acc[TGM_MI][TGM_NI][4];
  unsigned smem;
  int lane, wm, wn;

  TGM_DEV_MEMBER void init(unsigned smem_) {
    smem = smem_;
    lane = (int)threadIdx.x & 31;
    int warp = (int)threadIdx.x >> 5;
    wm = warp / TGM_WARPS_N * TGM_WM;
    wn = warp % TGM_WARPS_N * TGM_WN;
    clear();
  }
  TGM_DEV_MEMBER void clear() {
#pragma unroll
    for (int i = 0; i < TGM_MI; ++i)
#pragma unroll
      for (int j = 0; j < TGM_NI; ++j)
#pragma unroll
        for (int q = 0; q < 4; ++q) acc[i][j][q] = 0.f;
  }
  /* The 16 rows from `row` and the 32 bytes of k from step `ks`, as the A fragment of one mma. */
  TGM_DEV_MEMBER void load_a(unsigned* a, unsigned base, int row, int ks) {
    if constexpr (TgmA::KMAJOR) {
      tgm_ldsm(a, base + TgmA::offset(row + (lane & 15), ks * 2 + (lane >> 4)));
    } else if constexpr (TgmA::EB == 2) {
      int j = lane >> 3;
      tgm_ldsm_t(a, base + TgmA::offset(ks * 16 + (j >> 1) * 8 + (lane & 7), row / 8 + (j & 1)));
    } else {
      int g = lane >> 2, t = lane & 3;
#pragma unroll
      for (int q = 0; q < 4; ++q) a[q] = tgm_lds32(base + TgmA::offset32(ks * 8 + t + (q >> 1) * 4, row + g + (q & 1) * 8));
    }
    if constexpr (TgmA::EB == 4) {
#pragma unroll
      for (int q = 0; q < 4; ++q) a[q] = tgm_to_tf32(a[q]);
    }
  }
  /* Two B fragments (16 columns from `col`): b[0..1] the first eight columns, b[2..3] the next. */
  TGM_DEV_MEMBER void load_b(unsigned* b, unsigned base, int col, int ks) {
    int j = lane >> 3;
    if constexpr (TgmB::KMAJOR) {
      tgm_ldsm(b, base + TgmB::offset(col + (j >> 1) * 8 + (lane & 7), ks * 2 + (j & 1)));
    } else if constexpr (TgmB::EB == 2) {
      tgm_ldsm_t(b, base + TgmB::offset(ks * 16 + (j & 1) * 8 + (lane & 7), col / 8 + (j >> 1)));
    } else {
      int g = lane >> 2, t = lane & 3;
#pragma unroll
      for (int q = 0; q < 4; ++q) b[q] = tgm_lds32(base + TgmB::offset32(ks * 8 + t + (q & 1) * 4, col + g + (q >> 1) * 8));
    }
    if constexpr (TgmB::EB == 4) {
#pragma unroll
      for (int q = 0; q < 4; ++q) b[q] = tgm_to_tf32(b[q]);
    }
  }
  TGM_DEV_MEMBER void operator()(int stage) {
    unsigned sa = smem + stage * TGM_STAGE_BYTES;
    multiply(sa, sa + TgmA::BYTES, wn);
  }
  /* Adds the product of the warp's rows of the tile at `sa` and TGM_WN columns of that at `sb`, from column `col` on. */
  TGM_DEV_MEMBER void multiply(unsigned sa, unsigned sb, int col) {
#pragma unroll
    for (int ks = 0; ks < TGM_BK * TgmA::EB / 32; ++ks) {
      unsigned a[TGM_MI][4], b[TGM_NI * 2];
#pragma unroll
      for (int i = 0; i < TGM_MI; ++i) load_a(a[i], sa, wm + i * 16, ks);
#pragma unroll
      for (int j = 0; j < TGM_NI; j += 2) load_b(b + j * 2, sb, col + j * 8, ks);
#pragma unroll
      for (int i = 0; i < TGM_MI; ++i)
#pragma unroll
        for (int j = 0; j < TGM_NI; ++j) TGM_MMA(acc[i][j], a[i], b + j * 2);
    }
  }
  /* Every warp turns 16 rows at a time through its own piece of shared memory, so that a thread holds TGM_V consecutive columns. */
  template <class OUT> TGM_DEV_MEMBER void store(float* scratch, OUT out) {
    constexpr int LD = TGM_WN + 8, PER_ROW = TGM_WN / TGM_V;
    float* st = scratch + ((int)threadIdx.x >> 5) * 16 * LD;
    int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int i = 0; i < TGM_MI; ++i) {
#pragma unroll
      for (int j = 0; j < TGM_NI; ++j) {
        *(float2*)(st + g * LD + j * 8 + t * 2) = make_float2(acc[i][j][0], acc[i][j][1]);
        *(float2*)(st + (g + 8) * LD + j * 8 + t * 2) = make_float2(acc[i][j][2], acc[i][j][3]);
      }
      __syncwarp();
#pragma unroll
      for (int v0 = 0; v0 < 16 * PER_ROW; v0 += 32) {
        int v = v0 + lane;
        if (16 * PER_ROW % 32 != 0 && v >= 16 * PER_ROW) break;
        int r = v / PER_ROW, c = v % PER_ROW * TGM_V;
        float x[TGM_V];
#pragma unroll
        for (int e = 0; e < TGM_V; ++e) x[e] = st[r * LD + c + e];
        out(wm + i * 16 + r, wn + c, x);
      }
      __syncwarp();
    }
  }
};
)CUDA";
}

const char* simt_core_text() {
  return R"CUDA(
/* 16 x 16 threads; a thread owns rows ty + 16 i and columns tx + 16 j. Both tiles are K-major. */
constexpr int TGM_TM = TGM_BM / 16, TGM_TN = TGM_BN / 16;
constexpr int TGM_STAGE_BYTES = TgmA::BYTES + TgmB::BYTES;

struct tgm_core {
  float acc[TGM_TM][TGM_TN];
  unsigned smem;
  int tx, ty;

  TGM_DEV_MEMBER void init(unsigned smem_) {
    smem = smem_;
    tx = (int)threadIdx.x & 15;
    ty = (int)threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < TGM_TM; ++i)
#pragma unroll
      for (int j = 0; j < TGM_TN; ++j) acc[i][j] = 0.f;
  }
  TGM_DEV_MEMBER void operator()(int stage) {
    unsigned sa = smem + stage * TGM_STAGE_BYTES, sb = sa + TgmA::BYTES;
#pragma unroll
    for (int c = 0; c < TGM_BK / 4; ++c) {
      float4 a[TGM_TM];
#pragma unroll
      for (int i = 0; i < TGM_TM; ++i) a[i] = tgm_lds128(sa + TgmA::offset(ty + i * 16, c));
#pragma unroll
      for (int j = 0; j < TGM_TN; ++j) {
        float4 b = tgm_lds128(sb + TgmB::offset(tx + j * 16, c));
#pragma unroll
        for (int i = 0; i < TGM_TM; ++i) {
          acc[i][j] = fmaf(a[i].x, b.x, acc[i][j]);
          acc[i][j] = fmaf(a[i].y, b.y, acc[i][j]);
          acc[i][j] = fmaf(a[i].z, b.z, acc[i][j]);
          acc[i][j] = fmaf(a[i].w, b.w, acc[i][j]);
        }
      }
    }
  }
  template <class OUT> TGM_DEV_MEMBER void store(float* scratch, OUT out) {
    constexpr int LD = TGM_BN + 4, PER_ROW = TGM_BN / TGM_V, TOTAL = 16 * PER_ROW;
#pragma unroll
    for (int i = 0; i < TGM_TM; ++i) {
#pragma unroll
      for (int j = 0; j < TGM_TN; ++j) scratch[ty * LD + tx + j * 16] = acc[i][j];
      __syncthreads();
      for (int v = (int)threadIdx.x; v < TOTAL; v += 256) {
        int r = v / PER_ROW, c = v % PER_ROW * TGM_V;
        float x[TGM_V];
#pragma unroll
        for (int e = 0; e < TGM_V; ++e) x[e] = scratch[r * LD + c + e];
        out(i * 16 + r, c, x);
      }
      __syncthreads();
    }
  }
};
)CUDA";
}

}  // namespace tuyere::mma
