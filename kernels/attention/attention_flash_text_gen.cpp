// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_gen.h"

namespace tuyere::attention {

// A warp owns TGA_MT pieces of 16 rows; a thread holds rows g and g + 8 of each. A row is a query, or with TGA_PACK > 1 a query of one of the heads that share
// their keys. Scores are in units of log 2: weights are exp2(score * TGA_FACTOR - top).
const char* flash_text() {
  return R"CUDA(
constexpr int TGA_WARPS = $WARPS, TGA_MT = $MT, TGA_Q = TGA_WARPS * TGA_MT * 16, TGA_K = $KEYS, TGA_THREADS = 32 * TGA_WARPS;
constexpr int TGA_STAGES = $STAGES, TGA_SPLITS = $SPLITS, TGA_PACK = $PACK;
constexpr int TGA_D = $DP, TGA_DV = $DVP, TGA_SN = TGA_K / 8, TGA_ON = TGA_DV / 8;
constexpr bool TGA_KEEP_Q = $KEEP_Q, TGA_CAUSAL = $CAUSAL;
constexpr float TGA_BEFORE = $BEFORE, TGA_FACTOR = $FACTOR;
$TILES
typedef tgm_matrix_loader<TgaK, TGA_THREADS, $KVEC, false, true, $D_EDGE, TGM_IDX> TgaLoadK;
typedef tgm_matrix_loader<TgaV, TGA_THREADS, $VVEC, false, true, $DV_EDGE, TGM_IDX> TgaLoadV;

template <class LOADER> TGM_DEV void tga_load(LOADER& load, unsigned smem, int row0) {
  load.row0 = row0;
  load.begin(smem, 0);
  load.end(smem);
}
/* Rows row0.. of the queries. The depth is a multiple of 8: a chunk is inside or outside as a whole. */
template <int VEC> TGM_DEV void tga_load_q(unsigned smem, const char* base, TGM_IDX row_stride, TGM_IDX head_stride, int row0, int rows) {
#pragma unroll
  for (int i = 0; i < (TgaQ::CHUNKS + TGA_THREADS - 1) / TGA_THREADS; ++i) {
    const int id = (int)threadIdx.x + i * TGA_THREADS;
    if (TgaQ::CHUNKS % TGA_THREADS != 0 && id >= TgaQ::CHUNKS) break;
    const int r = id / TgaQ::CPR, c = id % TgaQ::CPR, row = row0 + r;
    const bool inside = row < rows && c * 8 < $D;
    const char* src = base + ((TGM_IDX)(row / TGA_PACK) * row_stride + (TGM_IDX)(row % TGA_PACK) * head_stride + c * 8) * 2;
    const unsigned dst = smem + TgaQ::offset(r, c);
    if constexpr (VEC < 4) {
#pragma unroll
      for (int e = 0; e < 8; ++e) tgm_sts16(dst + e * 2, inside ? ((const unsigned short*)src)[e] : (unsigned short)0);
    } else {
#pragma unroll
      for (int e = 0; e < 16 / VEC; ++e) tgm_cp_async<VEC>(dst + e * VEC, src + e * VEC, inside ? VEC : 0);
    }
  }
}
TGM_DEV float tga_row_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
TGM_DEV float tga_row_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
/* What a mask adds to a score. Finite values stay finite, so that a row of the least float keeps equal weights. */
TGM_DEV float tga_mask_value(bool allowed) { return allowed ? 0.f : __uint_as_float(0xff800000u); }
TGM_DEV float tga_mask_value(tg_half v) { return tg_value(v) * 1.4426950408889634f; }
template <class T> TGM_DEV float tga_mask_value(T v) {
  const float f = tg_cvt<float>(v), least = -2.3e38f;
  return (f < least && f > __uint_as_float(0xff800000u) ? least : f) * 1.4426950408889634f;
}
/* The mask of keys `key` and `key + 1`, those past the end like the last: without branches, loads can be in flight together. PAIR: both in one access; `key` and
   `keys` are even. */
template <bool PAIR, class T> TGM_DEV void tga_mask_pair(float* add, const T* row, TGM_IDX stride, int key, int keys) {
  T v[2];
  if constexpr (PAIR) {
    tg_load<2>(v, row + (key < keys ? key : keys - 2));
  } else {
    v[0] = row[(TGM_IDX)(key < keys ? key : keys - 1) * stride];
    v[1] = row[(TGM_IDX)(key + 1 < keys ? key + 1 : keys - 1) * stride];
  }
  add[0] = tga_mask_value(v[0]), add[1] = tga_mask_value(v[1]);
}

extern "C" __global__ void __launch_bounds__(TGA_THREADS, $RESIDENT) tg_flash(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  const int size_q = $SQ, size_k = $SK, heads = $H / TGA_PACK, rows = size_q * TGA_PACK;
  const float NEG = __uint_as_float(0xff800000u);
  const int tiles = (rows + TGA_Q - 1) / TGA_Q;
  int id = (int)blockIdx.x, tile, h, b, split;
  if (TGA_CAUSAL) { /* the longest rows first */
    h = id % heads, id /= heads;
    b = id % $B, id /= $B;
    split = id % TGA_SPLITS, tile = tiles - 1 - id / TGA_SPLITS;
  } else {
    tile = id % tiles, id /= tiles;
    split = id % TGA_SPLITS, id /= TGA_SPLITS;
    h = id % heads, b = id / heads;
  }
  const int q0 = tile * TGA_Q, h0 = h * TGA_PACK, kvh = h0 / ($H / $HKV);
  const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, g = lane >> 2, t = lane & 3, j8 = lane >> 3;
  const int w0 = q0 + warp * TGA_MT * 16; /* the warp's first row */
  const unsigned sq = $QUERIES_AT, sk = sq + TgaQ::BYTES, sv = sk + TGA_STAGES * TgaK::BYTES;
  TgaLoadK lk;
  TgaLoadV lv;
  lk.base = (const char*)($K + (TGM_IDX)b * $KB + (TGM_IDX)kvh * $KH);
  lv.base = (const char*)($V + (TGM_IDX)b * $VB + (TGM_IDX)kvh * $VH);
  lk.stride_row = $KS, lv.stride_row = $VS;
  lk.stride_k = lv.stride_k = 1;
  lk.rows = lv.rows = size_k;
  lk.k_end = $D;
  lv.k_end = $DV;
  int reach = size_k;
  if (TGA_CAUSAL) {
    const int last = (q0 + TGA_Q - 1) / TGA_PACK + 1;
    reach = last < reach ? last : reach;
  }
  int first = 0, k_tiles = (reach + TGA_K - 1) / TGA_K;
  if (TGA_SPLITS > 1) {
    const int each = (k_tiles + TGA_SPLITS - 1) / TGA_SPLITS;
    first = split * each;
    k_tiles = first + each < k_tiles ? first + each : k_tiles;
  }
  tgm_grid_wait();
  tga_load_q<$QVEC>(sq, (const char*)($Q + (TGM_IDX)b * $QB + (TGM_IDX)h0 * $QH), $QS, $QH, q0, rows);
#pragma unroll
  for (int s = 0; s < TGA_STAGES - 1; ++s) {
    if (first + s < k_tiles) tga_load(lk, sk + s * TgaK::BYTES, (first + s) * TGA_K);
    tgm_cp_commit();
    if (first + s < k_tiles) tga_load(lv, sv + s * TgaV::BYTES, (first + s) * TGA_K);
    tgm_cp_commit();
  }

  float o[TGA_MT][TGA_ON][4], top[TGA_MT][2], total[TGA_MT][2];
  unsigned qf[TGA_KEEP_Q ? TGA_MT : 1][TGA_KEEP_Q ? TGA_D / 16 : 1][4];
#pragma unroll
  for (int m = 0; m < TGA_MT; ++m) {
    top[m][0] = top[m][1] = NEG, total[m][0] = total[m][1] = 0.f;
#pragma unroll
    for (int n = 0; n < TGA_ON; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[m][n][e] = 0.f;
  }

  int read = 0, write = TGA_STAGES - 1;
  for (int kt = first; kt < k_tiles; ++kt) {
    const int k0 = kt * TGA_K;
    if (kt == first) tgm_cp_wait<2 * (TGA_STAGES - 1) - 1>(); /* queries and keys are here, values may be on their way */
    else tgm_cp_wait<2 * (TGA_STAGES - 2)>();
    $PUBLISH
    __syncthreads();
    const bool more = kt + TGA_STAGES - 1 < k_tiles;
    if (more) tga_load(lk, sk + write * TgaK::BYTES, k0 + (TGA_STAGES - 1) * TGA_K);
    tgm_cp_commit();
    if (more) tga_load(lv, sv + write * TgaV::BYTES, k0 + (TGA_STAGES - 1) * TGA_K);
    tgm_cp_commit();
    const unsigned ks = sk + read * TgaK::BYTES, vs = sv + read * TgaV::BYTES;
    float s[TGA_MT][TGA_SN][4];
#pragma unroll
    for (int m = 0; m < TGA_MT; ++m)
#pragma unroll
      for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[m][n][e] = 0.f;
$SCORES
$MASK
    if (k0 + TGA_K > size_k || (TGA_CAUSAL && k0 + TGA_K - 1 > w0 / TGA_PACK)) {
#pragma unroll
      for (int m = 0; m < TGA_MT; ++m)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = (w0 + m * 16 + g + (e >> 1) * 8) / TGA_PACK, end = TGA_CAUSAL && row + 1 < size_k ? row + 1 : size_k;
          const int left = end - k0 - t * 2 - (e & 1);
#pragma unroll
          for (int n = 0; n < TGA_SN; ++n)
            if (n * 8 >= left) s[m][n][e] = NEG;
        }
    }
#pragma unroll
    for (int m = 0; m < TGA_MT; ++m) {
      float now[2] = {top[m][0], top[m][1]}, from[2], keep[2];
#pragma unroll
      for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) now[e >> 1] = fmaxf(now[e >> 1], s[m][n][e]);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        now[r] = tga_row_max(now[r]);
        from[r] = now[r] == NEG ? 0.f : now[r] * TGA_FACTOR;
        keep[r] = tgm_exp2(top[m][r] * TGA_FACTOR - from[r]);
        top[m][r] = now[r];
        total[m][r] *= keep[r];
      }
#pragma unroll
      for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          s[m][n][e] = tgm_exp2(s[m][n][e] * TGA_FACTOR - from[e >> 1]);
          total[m][e >> 1] += s[m][n][e];
        }
#pragma unroll
      for (int n = 0; n < TGA_ON; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) o[m][n][e] *= keep[e >> 1];
    }
    if (kt == first) {
      tgm_cp_wait<2 * (TGA_STAGES - 1)>();
      $PUBLISH
      __syncthreads();
    }
$VALUES
    read = read + 1 == TGA_STAGES ? 0 : read + 1;
    write = write + 1 == TGA_STAGES ? 0 : write + 1;
  }
  tgm_cp_wait<0>();
  __syncthreads();
$STORE
}
)CUDA";
}

// Products by mma.sync: a warp reads its fragments from shared memory, of the queries once where registers hold them.
FlashProducts flash_mma() {
  return {R"CUDA(typedef tgm_tile<TGA_Q, TGA_D, 2, true> TgaQ;
typedef tgm_tile<TGA_K, TGA_D, 2, true> TgaK;
typedef tgm_tile<TGA_K, TGA_DV, 2, true> TgaV;)CUDA",
          "tgm_smem(tg_smem)", "",
          R"CUDA(    if (TGA_KEEP_Q && kt == first) {
#pragma unroll
      for (int m = 0; m < (TGA_KEEP_Q ? TGA_MT : 1); ++m)
#pragma unroll
        for (int d = 0; d < (TGA_KEEP_Q ? TGA_D / 16 : 1); ++d)
          tgm_ldsm(qf[m][d], sq + TgaQ::offset((warp * TGA_MT + m) * 16 + (lane & 15), d * 2 + (lane >> 4)));
    }
#pragma unroll
    for (int d = 0; d < TGA_D / 16; ++d) {
      unsigned a[TGA_MT][4];
#pragma unroll
      for (int m = 0; m < TGA_MT; ++m) {
        if (TGA_KEEP_Q) {
#pragma unroll
          for (int e = 0; e < 4; ++e) a[m][e] = qf[TGA_KEEP_Q ? m : 0][TGA_KEEP_Q ? d : 0][e];
        } else {
          tgm_ldsm(a[m], sq + TgaQ::offset((warp * TGA_MT + m) * 16 + (lane & 15), d * 2 + (lane >> 4)));
        }
      }
#pragma unroll
      for (int n = 0; n < TGA_SN; n += 2) {
        unsigned f[4];
        tgm_ldsm(f, ks + TgaK::offset(n * 8 + (j8 >> 1) * 8 + (lane & 7), d * 2 + (j8 & 1)));
#pragma unroll
        for (int m = 0; m < TGA_MT; ++m) {
          $MMA(s[m][n], a[m], f);
          $MMA(s[m][n + 1], a[m], f + 2);
        }
      }
    })CUDA",
          R"CUDA(#pragma unroll
    for (int c = 0; c < TGA_K / 16; ++c) {
      unsigned a[TGA_MT][4];
#pragma unroll
      for (int m = 0; m < TGA_MT; ++m) {
        a[m][0] = $PACK16(s[m][2 * c][0], s[m][2 * c][1]);
        a[m][1] = $PACK16(s[m][2 * c][2], s[m][2 * c][3]);
        a[m][2] = $PACK16(s[m][2 * c + 1][0], s[m][2 * c + 1][1]);
        a[m][3] = $PACK16(s[m][2 * c + 1][2], s[m][2 * c + 1][3]);
      }
#pragma unroll
      for (int n = 0; n < TGA_ON; n += 2) {
        unsigned f[4];
        tgm_ldsm_t(f, vs + TgaV::offset(c * 16 + (j8 & 1) * 8 + (lane & 7), n + (j8 >> 1)));
#pragma unroll
        for (int m = 0; m < TGA_MT; ++m) {
          $MMA(o[m][n], a[m], f);
          $MMA(o[m][n + 1], a[m], f + 2);
        }
      }
    })CUDA"};
}

// Products by warpgroup instructions: four warps are a group with 64 rows. Tiles are panels of 64 columns, rows of 128 bytes whose chunks are swizzled as the
// instructions expect; the weights of the values stay in registers.
FlashProducts flash_wgmma() {
  return {R"CUDA(template <int ROWS_, int COLUMNS> struct tga_panels {
  static constexpr int ROWS = ROWS_, BK = COLUMNS, EB = 2, OUTER = ROWS, INNER = BK, EPC = 8, CPR = BK / 8, BYTES = ROWS * BK * 2, CHUNKS = ROWS * CPR;
  static constexpr bool KMAJOR = true;
  static TGM_DEV_MEMBER unsigned offset(int r, int c) { return (unsigned)((c >> 3) * ROWS + r) * 128u + (unsigned)((c ^ r) & 7) * 16u; }
};
typedef tga_panels<TGA_Q, (TGA_D + 63) / 64 * 64> TgaQ;
typedef tga_panels<TGA_K, (TGA_D + 63) / 64 * 64> TgaK;
typedef tga_panels<TGA_K, (TGA_DV + 63) / 64 * 64> TgaV;)CUDA",
          "(tgm_smem(tg_smem) + 1023u) & ~1023u", "tgh_publish();",
          R"CUDA(    tgh_fence();
#pragma unroll
    for (int d = 0; d < TGA_D / 16; ++d) {
      const unsigned rows_at = sq + (d / 4 * TGA_Q + warp / 4 * 64) * 128 + d % 4 * 32, keys_at = ks + d / 4 * TGA_K * 128 + d % 4 * 32;
      tga_scores(&s[0][0][0], tgh_descriptor(rows_at, 0), tgh_descriptor(keys_at, 0));
    }
    tgh_commit();
    tgh_pending<0>();)CUDA",
          R"CUDA(    unsigned weights[TGA_K / 16][4];
#pragma unroll
    for (int c = 0; c < TGA_K / 16; ++c)
#pragma unroll
      for (int e = 0; e < 4; ++e) weights[c][e] = $PACK16(s[0][2 * c + e / 2][e % 2 * 2], s[0][2 * c + e / 2][e % 2 * 2 + 1]);
    tgh_fence();
#pragma unroll
    for (int c = 0; c < TGA_K / 16; ++c) tga_values(&o[0][0][0], weights[c], tgh_descriptor(vs + c * 2048, TGA_K * 128));
    tgh_commit();
    tgh_pending<0>();)CUDA"};
}

// `store` of a kernel without splits: 16 columns at a time through the warp's piece of shared memory.
const char* flash_store_text() {
  return R"CUDA(
  float* st = (float*)tg_smem + warp * 16 * 24; /* the tiles have been read */
#pragma unroll
  for (int m = 0; m < TGA_MT; ++m) {
    float rate[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = tga_row_sum(total[m][r]);
      const int here = w0 + m * 16 + g + r * 8;
      rate[r] = sum > 0.f || sum != sum ? 1.f / sum : 0.f;
      (void)here;
      $LSE
    }
#pragma unroll
    for (int n = 0; n < TGA_ON; n += 2) {
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        *(float2*)(st + g * 24 + p * 8 + t * 2) = make_float2(o[m][n + p][0] * rate[0], o[m][n + p][1] * rate[0]);
        *(float2*)(st + (g + 8) * 24 + p * 8 + t * 2) = make_float2(o[m][n + p][2] * rate[1], o[m][n + p][3] * rate[1]);
      }
      __syncwarp();
#pragma unroll
      for (int i = lane; i < 16 * (16 / TGM_V); i += 32) {
        const int r = i / (16 / TGM_V), c = i % (16 / TGM_V) * TGM_V, row = w0 + m * 16 + r, column = n * 8 + c;
        float x[TGM_V];
#pragma unroll
        for (int e = 0; e < TGM_V; ++e) x[e] = st[r * 24 + c + e];
        if (row < rows && column < $DV) tgm_epilogue(TG_ARGS, b, h0 + row % TGA_PACK, row / TGA_PACK, column, x, $DV % TGM_V == 0 ? TGM_V : $DV - column);
      }
      __syncwarp();
    }
  }
)CUDA";
}

// `store` of a split kernel. The workspace: sums [split][b][h][query][TGA_DV], then {top in units of log 2, total} [split][b][h][query].
const char* flash_partial_text() {
  return R"CUDA(
  const long long all = (long long)$B * $H * size_q;
#pragma unroll
  for (int m = 0; m < TGA_MT; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = w0 + m * 16 + g + r * 8;
      const float sum = tga_row_sum(total[m][r]);
      if (row >= rows) continue;
      const long long at = split * all + ((long long)b * $H + h0 + row % TGA_PACK) * size_q + row / TGA_PACK;
#pragma unroll
      for (int n = 0; n < TGA_ON; ++n) *(float2*)($WORKSPACE + at * TGA_DV + n * 8 + t * 2) = make_float2(o[m][n][r * 2], o[m][n][r * 2 + 1]);
      if (t == 0) *(float2*)($WORKSPACE + TGA_SPLITS * all * TGA_DV + at * 2) = make_float2(top[m][r] * TGA_FACTOR, sum);
    }
)CUDA";
}

const char* flash_merge_text() {
  return R"CUDA(
/* TGM_V columns of a row per thread. */
extern "C" __global__ void __launch_bounds__(128) tg_flash_merge(TG_PARAMS) {
  tgm_grid_launch_next();
  constexpr int PIECES = (TGA_DV + TGM_V - 1) / TGM_V;
  const float NEG = __uint_as_float(0xff800000u);
  const int size_q = $SQ;
  const long long all = (long long)$B * $H * size_q, id = (long long)blockIdx.x * 128 + (int)threadIdx.x, row = id / PIECES;
  const int column = (int)(id % PIECES) * TGM_V;
  tgm_grid_wait();
  if (row >= all || column >= $DV) return;
  const float2* stats = (const float2*)($WORKSPACE + TGA_SPLITS * all * TGA_DV);
  float most = NEG, sum = 0.f, x[TGM_V];
#pragma unroll
  for (int s = 0; s < TGA_SPLITS; ++s) most = fmaxf(most, stats[s * all + row].x);
  if (most == NEG) most = 0.f;
#pragma unroll
  for (int e = 0; e < TGM_V; ++e) x[e] = 0.f;
#pragma unroll
  for (int s = 0; s < TGA_SPLITS; ++s) {
    const float2 stat = stats[s * all + row];
    const float weight = tgm_exp2(stat.x - most);
    const float* part = $WORKSPACE + (s * all + row) * TGA_DV + column;
    sum += weight * stat.y;
#pragma unroll
    for (int e = 0; e < TGM_V; ++e) x[e] += weight * part[e];
  }
  const float rate = sum > 0.f || sum != sum ? 1.f / sum : 0.f;
#pragma unroll
  for (int e = 0; e < TGM_V; ++e) x[e] *= rate;
  const int query = (int)(row % size_q), h = (int)(row / size_q % $H), b = (int)(row / size_q / $H);
  $LSE_MERGED
  tgm_epilogue(TG_ARGS, b, h, query, column, x, $DV % TGM_V == 0 ? TGM_V : $DV - column);
}
)CUDA";
}

}  // namespace tuyere::attention
