// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_gen.h"

#include <algorithm>

namespace tuyere::matmul {
namespace {

// x: TGM_R rows, w: size_n rows; KW warps of a block share a row of w.
constexpr const char* kCommon = R"CUDA(
typedef $ACC TGM_ACC;
typedef $XT TGM_X;
typedef $WT TGM_W;
/* VEC elements from p, zero from `left` on. WHOLE: `left` is a multiple of VEC. */
template <int VEC, bool DENSE, bool WHOLE, class T> TGM_DEV void tgm_row(T (&out)[VEC], const T* p, TGM_IDX stride, int left) {
  if (DENSE && left >= VEC) {
    tg_load<VEC>(out, p);
  } else {
#pragma unroll
    for (int e = 0; e < VEC; ++e) out[e] = !(DENSE && WHOLE) && e < left ? p[(TGM_IDX)e * stride] : tg_cvt<T>(0.f);
  }
}
TGM_DEV void tgm_finish(TG_PARAMS, TGM_ACC sum, int split, int batch, int m, int n, int size_n) {
  (void)split; (void)size_n;
$BATCH
$STORE
}
)CUDA";

constexpr const char* kHead = R"CUDA(
extern "C" __global__ void __launch_bounds__(32 * $WARPS) tg_gemv(TG_PARAMS) {
  constexpr int W = $WARPS, KW = $KWARPS, R = $R, VEC = $VEC, COLS = $COLS, TILE = $TILE;
  __shared__ TGM_ACC red[KW * TILE * $RED_ROWS];
  tgm_grid_launch_next();
  const int size_n = $N, size_k = $K;
  const int tiles_n = (size_n + TILE - 1) / TILE;
  int id = (int)blockIdx.x;
  const int n0 = id % tiles_n * TILE;
  id /= tiles_n;
  const int split = id % $SPLITS;
  int batch = id / $SPLITS;
  const int batch_index = batch;
  const int steps = (size_k + $STEP - 1) / $STEP, chunk = (steps + $SPLITS - 1) / $SPLITS * $STEP;
  const int k0 = split * chunk;
  const int k1 = size_k - k0 < chunk ? size_k : k0 + chunk;
  const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, kw = warp % KW;
$BATCH
  tgm_grid_wait();
  const TGM_X* x = $XBASE;
  const TGM_W* w = $WBASE;
)CUDA";

// Rows of w along k: a warp reads COLS of them, lanes side by side.
constexpr const char* kAlongK = R"CUDA(
  const int group = warp / KW;
  TGM_ACC acc[COLS][R];
#pragma unroll
  for (int c = 0; c < COLS; ++c)
#pragma unroll
    for (int r = 0; r < R; ++r) acc[c][r] = 0;
#pragma unroll 2
  for (int k = k0 + (kw * 32 + lane) * VEC; k < k1; k += $STEP) {
    TGM_X xv[R][VEC];
    TGM_W wv[COLS][VEC];
#pragma unroll
    for (int c = 0; c < COLS; ++c) {
      int n = n0 + group * COLS + c;
      tgm_row<VEC, $WDENSE, $WHOLE>(wv[c], w + (TGM_IDX)n * $WROW + (TGM_IDX)k * $WK, $WK, n < size_n ? k1 - k : 0);
    }
#pragma unroll
    for (int r = 0; r < R; ++r) tgm_row<VEC, $XDENSE, $WHOLE>(xv[r], x + (TGM_IDX)r * $XROW + (TGM_IDX)k * $XK, $XK, k1 - k);
#pragma unroll
    for (int c = 0; c < COLS; ++c)
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int e = 0; e < VEC; ++e) acc[c][r] += tg_cvt<TGM_ACC>(wv[c][e]) * tg_cvt<TGM_ACC>(xv[r][e]);
  }
#pragma unroll
  for (int c = 0; c < COLS; ++c)
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int mask = 16; mask > 0; mask >>= 1) acc[c][r] += __shfl_xor_sync(0xffffffffu, acc[c][r], mask);
      if (lane == 0) red[(kw * TILE + group * COLS + c) * R + r] = acc[c][r];
    }
  __syncthreads();
  for (int i = (int)threadIdx.x; i < TILE * R; i += 32 * W) {
    int n = n0 + i / R;
    TGM_ACC sum = red[i];
#pragma unroll
    for (int q = 1; q < KW; ++q) sum += red[q * TILE * R + i];
    if (n < size_n) tgm_finish(TG_ARGS, sum, split, batch_index, i % R, n, size_n);
  }
}
)CUDA";

// Columns of w side by side in memory: a lane owns VEC of them, warps go down k.
constexpr const char* kAcrossN = R"CUDA(
  const int n = n0 + lane * VEC;
  TGM_ACC acc[R][VEC];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int e = 0; e < VEC; ++e) acc[r][e] = 0;
#pragma unroll 4
  for (int k = k0 + kw; k < k1; k += KW) {
    TGM_W wv[VEC];
    tgm_row<VEC, true, $WHOLE>(wv, w + (TGM_IDX)k * $WK + n, 1, size_n - n);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      TGM_ACC xv = tg_cvt<TGM_ACC>(x[(TGM_IDX)r * $XROW + (TGM_IDX)k * $XK]);
#pragma unroll
      for (int e = 0; e < VEC; ++e) acc[r][e] += xv * tg_cvt<TGM_ACC>(wv[e]);
    }
  }
  (void)COLS;
#pragma unroll
  for (int r = 0; r < R; ++r) {
    __syncthreads();
#pragma unroll
    for (int e = 0; e < VEC; ++e) red[kw * TILE + lane * VEC + e] = acc[r][e];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < TILE; i += 32 * W) {
      TGM_ACC sum = red[i];
#pragma unroll
      for (int q = 1; q < KW; ++q) sum += red[q * TILE + i];
      if (n0 + i < size_n) tgm_finish(TG_ARGS, sum, split, batch_index, r, n0 + i, size_n);
    }
  }
}
)CUDA";

/// Elements per 16-byte (or narrower) access along the contiguous direction.
int elements(const mma::Matrix& matrix) { return matrix.k.is_const(1) || matrix.row.is_const(1) ? mma::access_bytes(matrix) / mma::size_of(matrix.dtype) : 1; }

}  // namespace

int gemv_rows(const View& v, bool* swapped) {
  *swapped = false;
  if (v.m.is_const() && v.m.value() <= 8) return static_cast<int>(v.m.value());
  *swapped = true;
  return v.n.is_const() && v.n.value() <= 8 ? static_cast<int>(v.n.value()) : 0;
}

mma::KernelSource gemv_source(const Problem& problem, const Target& target, const GemvShape& shape) {
  const View v = view(problem);
  bool swapped = false;
  const int rows = gemv_rows(v, &swapped);
  const mma::Matrix &x = swapped ? v.b : v.a, &w = swapped ? v.a : v.b;
  const Dim n = swapped ? v.m : v.n;
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, v.coords() - 1, 1), params);
  const bool along_k = w.k_major();
  const bool x_dense = x.k.is_const(1);
  int vec = std::min(elements(w), 8);
  if (along_k && x_dense) vec = std::min(vec, elements(x));
  const int kwarps = along_k ? std::max(1, shape.warps / 4) : shape.warps;
  const int columns = along_k ? shape.columns : 1;
  const int tile = along_k ? shape.warps / kwarps * columns : 32 * vec;
  const int step = along_k ? 32 * vec * kwarps : kwarps;
  const Dim batch = v.batch_count();
  std::vector<std::string> sizes;
  for (const Dim& b : v.batch) sizes.push_back(params.size(b));
  const std::string batches = params.size(batch);
  auto text = [](int i) { return std::to_string(i); };
  codegen::Vars vars = {{"ACC", mma::accumulator_ctype(w.dtype)},
                        {"XT", mma::storage_ctype(x.dtype)},
                        {"WT", mma::storage_ctype(w.dtype)},
                        {"WARPS", text(shape.warps)},
                        {"KWARPS", text(kwarps)},
                        {"R", text(rows)},
                        {"VEC", text(vec)},
                        {"COLS", text(columns)},
                        {"TILE", text(tile)},
                        {"RED_ROWS", text(along_k ? rows : 1)},
                        {"M", text(rows)},
                        {"N", params.size(n)},
                        {"K", params.size(v.k)},
                        {"SPLITS", text(shape.splits)},
                        {"STEP", text(step)},
                        {"BATCHES", batches},
                        {"BATCH", mma::batch_text(sizes)},
                        {"XBASE", base(v, x, params)},
                        {"WBASE", base(v, w, params)},
                        {"WROW", params.offset(w.row)},
                        {"WK", params.offset(w.k)},
                        {"XROW", params.offset(x.row)},
                        {"XK", params.offset(x.k)},
                        {"WDENSE", w.k.is_const(1) ? "true" : "false"},
                        {"XDENSE", x_dense ? "true" : "false"},
                        {"WHOLE", mma::divisible(along_k ? v.k : n, vec) ? "true" : "false"},
                        {"PLACE", ""},
                        {"COORDS", batch_names(v) + (swapped ? "n, m" : "m, n")}};
  std::string store = "  tgm_epilogue(TG_ARGS, " + batch_names(v) + (swapped ? "n, m" : "m, n") + ", &sum, 1);";
  if (shape.splits > 1) {
    vars.push_back({"WORKSPACE", params.pointer(v.workspace(), DType::F32, true)});
    store = codegen::fill("  $WORKSPACE[(((long long)split * $BATCHES + batch_id) * $R + m) * size_n + n] = sum;", vars);
  }
  vars.push_back({"STORE", store});
  std::string body = epilogue_text + codegen::fill(kCommon, vars) + codegen::fill(kHead, vars) + codegen::fill(along_k ? kAlongK : kAcrossN, vars);
  mma::KernelSource source = mma::one_launch("tg_gemv", ceildiv(n, tile) * batch * Dim(shape.splits), 32 * shape.warps, params, target);
  if (shape.splits > 1) {
    source.workspace = ceildiv(n * batch * Dim(4 * shape.splits * rows), 256) * Dim(256);
    mma::add_split_sum(source, body, vars, 1, rows, n, batch);
  }
  source.text = mma::assemble(params, mma::needs_wide(problem), body);
  return source;
}

}  // namespace tuyere::matmul
