// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

constexpr int kVector = 4;  // channels per thread

// A block copies the input under a tile of outputs into shared memory, so that the reads of wide windows do not wait for L2. A thread makes ROWS x COLS outputs
// of VEC channels: each input vector is read once per thread, the weights of one row of the window are held in registers.
// With two stages there are as many blocks as the device holds: each keeps its channels and their weights, and copies its next tile while it computes.
constexpr const char* kDepthwiseTileKernel = R"CUDA(
typedef $T TGD_T;
extern "C" __global__ void __launch_bounds__($THREADS) tg_depthwise(TG_PARAMS) {
  constexpr int VEC = 4, CB = $CB, CT = CB / VEC, WIDE = $WIDE, HIGH = $HIGH, ROWS = $ROWS, COLS = $COLS, KH = $KH, KW = $KW, C = $C, THREADS = $THREADS;
  constexpr int TW = WIDE * COLS, TH = HIGH * ROWS, IW = (TW - 1) * $SW + KW, IH = (TH - 1) * $SH + KH, IN_ROWS = (ROWS - 1) * $SH + KH,
                IN_COLS = (COLS - 1) * $SW + KW, WLD = CB + 4, PER_PIXEL = CB * (int)sizeof(TGD_T) / 16, PER_CHUNK = 16 / (int)sizeof(TGD_T), STAGES = $STAGES,
                TILE = IH * IW * CB * (int)sizeof(TGD_T);
  extern __shared__ __align__(128) unsigned char tg_smem[];
  float* weights = (float*)tg_smem;
  TGD_T* tile = (TGD_T*)(tg_smem + $TILE_AT);
  tgm_grid_launch_next();
  const int in_h = $IH, in_w = $IW, out_h = $OH, out_w = $OW, tid = (int)threadIdx.x;
  constexpr int CHUNKS = (C + CB - 1) / CB;
  const int c0 = (int)blockIdx.x % CHUNKS * CB, step = (int)gridDim.x / CHUNKS;
  const int tiles_w = (out_w + TW - 1) / TW, tiles_h = (out_h + TH - 1) / TH, tiles = $BATCH * tiles_h * tiles_w;
  if (!$W_CONSTANT) tgm_grid_wait();
  for (int i = tid; i < KH * KW * CB; i += THREADS) {
    const int c = i / (KH * KW), tap = i % (KH * KW);
    weights[tap * WLD + c] = c0 + c < C ? tg_cvt<float>($W[(TGM_IDX)(c0 + c) * $WO + (TGM_IDX)(tap / KW) * $WH + (TGM_IDX)(tap % KW) * $WW]) : 0.f;
  }
  if ($W_CONSTANT) tgm_grid_wait();
  const unsigned to = tgm_smem(tile);
  const int c = tid % CT * VEC, place = tid / CT, at_w = place % WIDE * COLS, at_h = place / WIDE * ROWS;
  auto copy = [&](int index, int stage) {
    const int w0 = index % tiles_w * TW, h0 = index / tiles_w % tiles_h * TH, n = index / tiles_w / tiles_h;
    const TGD_T* x = $X + (TGM_IDX)n * $XN + c0;
    for (int i = tid; i < IH * IW * PER_PIXEL; i += THREADS) {
      const int part = i % PER_PIXEL, pixel = i / PER_PIXEL, h = h0 * $SH - $PH + pixel / IW, w = w0 * $SW - $PW + pixel % IW;
      const bool inside = (unsigned)h < (unsigned)in_h && (unsigned)w < (unsigned)in_w && c0 + part * PER_CHUNK < C;
      tgm_cp_async<16>(to + (unsigned)(stage * TILE + i * 16), inside ? x + ((TGM_IDX)h * $XH + (TGM_IDX)w * $XW + part * PER_CHUNK) : x, inside ? 16 : 0);
    }
  };
  int index = (int)blockIdx.x / CHUNKS, stage = 0;
  if (STAGES > 1 && index < tiles) copy(index, 0);
  tgm_cp_commit();
#pragma unroll 1
  for (; index < tiles; index += step) {
    if (STAGES == 1) copy(index, 0);
    if (STAGES > 1 && index + step < tiles) copy(index + step, stage ^ 1);
    tgm_cp_commit();
    tgm_cp_wait<STAGES - 1>();
    __syncthreads();
    const TGD_T* from = tile + stage * (TILE / (int)sizeof(TGD_T)) + (at_h * $SH * IW + at_w * $SW) * CB + c;
    float acc[ROWS][COLS][VEC];
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int t = 0; t < COLS; ++t)
#pragma unroll
        for (int e = 0; e < VEC; ++e) acc[r][t][e] = 0.f;
#pragma unroll
    for (int ir = 0; ir < IN_ROWS; ++ir) {
      float taps[ROWS][KW][VEC];
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int kh = ir - r * $SH;
        if (kh < 0 || kh >= KH) continue;
#pragma unroll
        for (int kw = 0; kw < KW; ++kw) {
          const float4 q = *reinterpret_cast<const float4*>(weights + (kh * KW + kw) * WLD + c);
          taps[r][kw][0] = q.x, taps[r][kw][1] = q.y, taps[r][kw][2] = q.z, taps[r][kw][3] = q.w;
        }
      }
#pragma unroll
      for (int ic = 0; ic < IN_COLS; ++ic) {
        TGD_T raw[VEC];
        tg_load<VEC>(raw, from + (ir * IW + ic) * CB);
        float v[VEC];
#pragma unroll
        for (int e = 0; e < VEC; ++e) v[e] = tg_cvt<float>(raw[e]);
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
#pragma unroll
          for (int t = 0; t < COLS; ++t) {
            const int kh = ir - r * $SH, kw = ic - t * $SW;
            if (kh < 0 || kh >= KH || kw < 0 || kw >= KW) continue;
#pragma unroll
            for (int e = 0; e < VEC; ++e) acc[r][t][e] = fmaf(v[e], taps[r][kw][e], acc[r][t][e]);
          }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int t = 0; t < COLS; ++t) {
        const int oh = index / tiles_w % tiles_h * TH + at_h + r, ow = index % tiles_w * TW + at_w + t, n = index / tiles_w / tiles_h;
        if (oh >= out_h || ow >= out_w || c0 + c >= C) continue;
        const int pixel = (n * out_h + oh) * out_w + ow, channel = c0 + c;
        tgm_epilogue(TG_ARGS, $COORDS, acc[r][t], VEC);
      }
    if (STAGES == 1) break;
    if (index + step < tiles) __syncthreads();  // the stage is written again
    stage ^= 1;
  }
}
)CUDA";

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Extent {
  int64_t out_h, out_w, in_h, in_w;  // of one tile
};

Extent extent(const View& v, const DepthwiseTile& tile) {
  const int64_t h = int64_t{tile.high} * tile.rows, w = int64_t{tile.wide} * tile.columns;
  return {h, w, (h - 1) * v.stride[1] + v.kernel[1], (w - 1) * v.stride[2] + v.kernel[2]};
}

int64_t weight_bytes(const View& v, const DepthwiseTile& tile) { return up(v.taps() * (tile.channels + 4) * 4, 128) * 128; }

int64_t shared_bytes(const View& v, const DepthwiseTile& tile) {
  const Extent e = extent(v, tile);
  return weight_bytes(v, tile) + tile.stages * e.in_h * e.in_w * tile.channels * mma::size_of(v.type);
}

/// Blocks that a multiprocessor holds, by registers and shared memory.
int64_t resident_blocks(const View& v, const DepthwiseTile& tile) {
  const int64_t by_registers = 65536 / (tile.threads() * std::min(255, tile.rows * (tile.columns + static_cast<int>(v.kernel[2])) * kVector + 40));
  return std::min<int64_t>({16, by_registers, 220 * 1024 / (shared_bytes(v, tile) + 1024)});
}

/// Spatial tiles of one chunk of channels, and chunks.
Dim tile_count(const View& v, const Extent& e) { return v.batch * ceildiv(v.out[1], e.out_h) * ceildiv(v.out[2], e.out_w); }
int64_t chunk_count(const View& v, const DepthwiseTile& tile) { return up(v.groups, tile.channels); }

/// Every tile has its block, or blocks stay for several of them.
Dim blocks_of_chunk(const View& v, const DepthwiseTile& tile, const Target& target) {
  const Dim tiles = tile_count(v, extent(v, tile));
  if (tile.stages == 1) return tiles;
  const int64_t held = std::max<int64_t>(1, resident_blocks(v, tile)) * std::max(1, target.multiprocessors);
  return min(tiles, Dim(std::max<int64_t>(1, held / chunk_count(v, tile))));
}

Config str(const DepthwiseTile& t) {
  auto pair = [](const char* key, int value) { return std::string(key) + "=" + std::to_string(value); };
  return pair("channels", t.channels) + " " + pair("columns", t.columns) + " " + pair("rows", t.rows) + " " + pair("wide", t.wide) + " " +
         pair("high", t.high) + (t.stages > 1 ? " " + pair("stages", t.stages) : "");
}

/// Those that fit the registers and leave room for two blocks of shared memory.
std::vector<DepthwiseTile> tiles(const View& v) {
  std::vector<DepthwiseTile> list;
  for (int channels : {32, 48, 64})
    for (int columns : {4, 5, 6, 7, 8})
      for (int rows : {1, 2})
        for (int wide : {1, 2, 4, 8})
          for (int high : {1, 2, 3, 4, 7, 8}) {
            const DepthwiseTile tile{channels, columns, rows, wide, high};
            if (tile.threads() % 32 != 0 || tile.threads() < 64 || tile.threads() > 256 || shared_bytes(v, tile) > 96 * 1024) continue;
            if (rows * (columns + v.kernel[2]) * kVector <= 180) list.push_back(tile);
          }
  return list;
}

}  // namespace

DepthwiseTile parse_depthwise_tile(const Config& config) {
  auto number = [&](const char* key) { return mma::config_ints(config, key)[0]; };
  const bool staged = config.find("stages=") != Config::npos;
  return {number("channels"), number("columns"), number("rows"), number("wide"), number("high"), staged ? number("stages") : 1};
}

/// Copies through L2 with the tiles' margins, arithmetic with what partial tiles waste, and reads of shared memory.
double estimate_depthwise_tile(const Problem& problem, const View& v, const DepthwiseTile& tile, const Target& target) {
  const Extent e = extent(v, tile);
  const double element = mma::size_of(v.type), sms = std::max(1, target.multiprocessors);
  const double blocks = static_cast<double>(up(mma::hint(v.out[1], problem.hints), e.out_h) * up(mma::hint(v.out[2], problem.hints), e.out_w)) *
                        mma::hint(v.batch, problem.hints) * static_cast<double>(up(v.groups, tile.channels));
  const double rate = (target.sm >= 90 ? 128 : 64) * sms * 1.6e9;  // multiply-adds per second
  const double in_columns = (tile.columns - 1) * static_cast<double>(v.stride[2]) + v.kernel[2];
  // Cycles of a multiprocessor per warp and row of the window: arithmetic, conversions, shared memory (weights as floats, inputs as they are).
  const double math = tile.rows * tile.columns * static_cast<double>(v.kernel[2]) + in_columns, shared = 4.0 * tile.rows * v.kernel[2] + element * in_columns;
  const double cycles = math + 0.3 * shared + std::max(0.0, shared - math);
  const double waste = cycles / (tile.rows * tile.columns * static_cast<double>(v.kernel[2]));
  const double arithmetic = blocks * e.out_h * e.out_w * tile.channels * v.taps() * waste / rate;
  const double bandwidth = (target.copy_gbps > 0 ? target.copy_gbps : 2000) * 1e9;
  const double copies = blocks * e.in_h * e.in_w * tile.channels * element / (1.5 * bandwidth);
  const double resident = static_cast<double>(resident_blocks(v, tile));
  if (resident < 1) return 1;
  const double waves = blocks / (sms * resident), hidden = resident >= 2 || tile.stages > 1 ? 0.0 : copies;  // a lone block waits for its copies
  return 4e-6 + (std::max({traffic(problem) / bandwidth, copies, arithmetic}) + hidden) * std::ceil(waves) / waves;
}

std::vector<Config> depthwise_tile_configs(const Problem& problem, const View& v, const Target& target, int level) {
  std::vector<std::pair<double, DepthwiseTile>> all;
  for (const DepthwiseTile& tile : tiles(v)) all.push_back({estimate_depthwise_tile(problem, v, tile, target), tile});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Config> configs;
  for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level <= 3 ? level + 1 : 12); ++i) configs.push_back(str(all[i].second));
  // Blocks that stay pay where each has several tiles.
  if (level < 2) return configs;
  for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 3 ? 3 : 8); ++i) {
    DepthwiseTile tile = all[i].second;
    tile.stages = 2;
    const int64_t each = mma::hint(tile_count(v, extent(v, tile)), problem.hints), held = mma::hint(blocks_of_chunk(v, tile, target), problem.hints);
    if (shared_bytes(v, tile) <= 96 * 1024 && each >= 3 * held) configs.push_back(str(tile));
  }
  return configs;
}

Support accepts_depthwise_tile(const View& v) {
  REQUIRE(v.dilation[1] == 1 && v.dilation[2] == 1, "dilation");
  REQUIRE(v.kernel[1] <= 11 && v.kernel[2] <= 11, "windows of more than 11 x 11");
  const int vec = 16 / mma::size_of(v.type);
  REQUIRE(v.groups % vec == 0, "channels that do not fill 16 bytes");
  bool aligned = v.x_alignment % 16 == 0 && mma::divisible(v.x_batch, vec);
  for (const Dim& s : v.x_space) aligned = aligned && mma::divisible(s, vec);
  REQUIRE(aligned, "x is not aligned to 16 bytes");
  REQUIRE(!tiles(v).empty(), "no tile fits");
  return Support::yes();
}

mma::KernelSource depthwise_tile_source(const Problem& problem, const Target& target, const DepthwiseTile& tile) {
  const View v = view(problem);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, kVector), params);
  auto number = [](int64_t i) { return std::to_string(i); };
  codegen::Vars vars = {{"T", mma::storage_ctype(v.type)},
                        {"W_CONSTANT", problem.in[1].constant ? "true" : "false"},
                        {"THREADS", number(tile.threads())},
                        {"CB", number(tile.channels)},
                        {"WIDE", number(tile.wide)},
                        {"HIGH", number(tile.high)},
                        {"ROWS", number(tile.rows)},
                        {"COLS", number(tile.columns)},
                        {"C", number(v.groups)},
                        {"TILE_AT", number(weight_bytes(v, tile))},
                        {"STAGES", number(tile.stages)},
                        {"BATCH", params.size(v.batch)},
                        {"X", params.pointer(0, v.type, false)},
                        {"W", params.pointer(1, v.type, false)},
                        {"XN", params.offset(v.x_batch)},
                        {"WO", params.offset(v.w_out)},
                        {"COORDS", coords(v, params, "pixel", "channel")}};
  add_spatial_vars(v, params, 1, vars);
  mma::KernelSource source = mma::one_launch("tg_depthwise", blocks_of_chunk(v, tile, target) * Dim(chunk_count(v, tile)), tile.threads(), params, target);
  source.step.launches[0].shared_bytes = static_cast<int>(shared_bytes(v, tile));
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kDepthwiseTileKernel, vars));
  return source;
}

}  // namespace tuyere::conv
