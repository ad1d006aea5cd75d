// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/stream.h"

#include <algorithm>
#include <cmath>

#include "kernels/mma/device_text.h"

namespace tuyere::mma {
namespace {

// Stage i of the pipeline is the block's i-th tile of rows; the weights are copied with the first. A block works on one product of a batch.
constexpr const char* kStreamFrame = R"CUDA(
struct tgm_rows {
  TgmLoadA a;
  unsigned smem;
  int first, step;
  TGM_DEV_MEMBER void begin(int stage, int tile) {
    a.row0 = (first + tile * step) * TGM_BM;
    a.begin(smem + (unsigned)(stage * TgmA::BYTES), 0);
  }
  TGM_DEV_MEMBER void end(int stage) { a.end(smem + (unsigned)(stage * TgmA::BYTES)); }
};
extern "C" __global__ void __launch_bounds__(TGM_THREADS, $BLOCKS) tg_stream(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  const int size_m = $M, tiles = (size_m + TGM_BM - 1) / TGM_BM;
  constexpr int size_n = $N, size_k = $K;
  tgm_rows load;
$PLACE
  if (load.first >= tiles) return;
  const int count = (tiles - load.first + load.step - 1) / load.step;
  const unsigned columns = tgm_smem(tg_smem);
  load.smem = columns + TgmB::BYTES;
  float* scratch = (float*)(tg_smem + TgmB::BYTES + TGM_STAGES * TgmA::BYTES);
  TgmLoadB weights;
  weights.base = (const char*)($B);
  weights.stride_row = $B_ROW;
  weights.stride_k = 1;
  weights.row0 = 0;
  weights.rows = size_n;
  weights.k_end = size_k;
  if (!$W_CONSTANT) tgm_grid_wait();
  weights.begin(columns, 0);
  weights.end(columns);
  if ($W_CONSTANT) tgm_grid_wait();
  load.a.base = (const char*)($A);
  load.a.stride_row = $A_ROW;
  load.a.stride_k = 1;
  load.a.rows = size_m;
  load.a.k_end = size_k;
  tgm_core core;
  core.init(load.smem);
  int m0 = load.first * TGM_BM;
  auto work = [&](int stage) {
#pragma unroll 1
    for (int n0 = 0; n0 < size_n; n0 += TGM_BN) {
      core.clear();
      core.multiply(load.smem + (unsigned)(stage * TgmA::BYTES), columns, n0);
      core.store(scratch, [&](int r, int c, const float* x) {
        int m = m0 + r, n = n0 + c;
        if (m < size_m && n < size_n) tgm_epilogue(TG_ARGS, $COORDS, x, size_n % TGM_V == 0 ? TGM_V : size_n - n);
      });
    }
    m0 += load.step * TGM_BM;
  };
  tgm_pipeline<TGM_STAGES>(load, work, count);
}
)CUDA";

constexpr int64_t kChunk = 64;       // accumulated columns at most
constexpr int kOwnRegisters = 72;    // beside the accumulators
constexpr double kLatency = 0.8e-6;  // of memory under load, seconds
constexpr int64_t kFewestRows = 4096, kFewestRowsOfProduct = 128;

int tile_bytes(const StreamSize& size, const StreamShape& shape) { return shape.rows * size.bk() * size.element; }
int shared_bytes(const StreamSize& size, const StreamShape& shape) {
  return size.bn() * size.bk() * size.element + shape.stages * tile_bytes(size, shape) + shape.warps * 16 * (size.chunk() + 8) * 4;
}

/// The most blocks of this shape, at most four, that a multiprocessor holds; 0 when not one fits.
int most_blocks(const StreamSize& size, const StreamShape& shape, const Target& target) {
  const int accumulators = shape.rows / (16 * shape.warps) * size.chunk() / 2;
  const int by_registers = 65536 / (32 * shape.warps * (accumulators + kOwnRegisters));
  return std::min({4, shared_limit(target) / (shared_bytes(size, shape) + 1024), by_registers});
}

std::vector<StreamShape> shapes(const StreamSize& size, const Target& target) {
  std::vector<StreamShape> list;
  for (const StreamShape& tile : {StreamShape{128, 4}, StreamShape{64, 4}, StreamShape{128, 8}, StreamShape{256, 8}})
    for (int stages : {4, 3, 2}) {
      StreamShape shape{tile.rows, tile.warps, stages, 0};
      shape.blocks = most_blocks(size, shape, target);
      if (shape.blocks > 0) list.push_back(shape);
    }
  return list;
}

Config str(const StreamShape& s) {
  return "rows=" + std::to_string(s.rows) + " warps=" + std::to_string(s.warps) + " stages=" + std::to_string(s.stages) + " blocks=" + std::to_string(s.blocks);
}

std::string defines(const StreamText& text) {
  auto define = [](const char* key, int value) { return std::string("#define ") + key + " " + std::to_string(value) + "\n"; };
  const StreamShape& s = text.shape;
  const std::string element = std::to_string(text.size.element);
  return define("TGM_BM", s.rows) + define("TGM_BN", text.size.chunk()) + define("TGM_BK", text.size.bk()) + define("TGM_STAGES", s.stages) +
         define("TGM_THREADS", 32 * s.warps) + define("TGM_WARPS_M", s.warps) + define("TGM_WARPS_N", 1) + "#define TGM_MMA " + mma_name(text.dtype) +
         "\ntypedef tgm_tile<TGM_BM, TGM_BK, " + element + ", true> TgmA;\ntypedef tgm_tile<" + std::to_string(text.size.bn()) + ", TGM_BK, " + element +
         ", true> TgmB;\n";
}

/// Blocks of one product; all of them together fill the device once.
Dim blocks_of_product(const StreamText& text, const Target& target) {
  const Dim tiles = ceildiv(text.m, text.shape.rows), all = int64_t{multiprocessors(target)} * text.shape.blocks;
  if (text.batch.empty()) return min(tiles, all);
  Dim batch = 1;
  for (const Dim& b : text.batch) batch *= b;
  return min(tiles, max(floordiv(all, max(batch, Dim(1))), Dim(1)));
}

/// Declares the coordinates of the block's product, and which tiles of it are the block's.
std::string place_text(const StreamText& text, KernelParams& params, const Dim& blocks) {
  if (text.batch.empty()) return "  load.first = (int)blockIdx.x;\n  load.step = (int)gridDim.x;";
  const std::string per = params.size(blocks);
  std::string code = "  load.first = (int)blockIdx.x % " + per + ";\n  load.step = " + per + ";\n  int batch = (int)blockIdx.x / " + per + ";\n";
  for (size_t i = text.batch.size(); i-- > 0;) {
    const std::string b = "b" + std::to_string(i), size = params.size(text.batch[i]);
    code += "  const int " + b + " = batch % " + size + ";\n  batch /= " + size + ";\n";
  }
  return code;
}

}  // namespace

int StreamSize::bk() const { return static_cast<int>(ceil_div(k * element, 32) * 32 / element); }
int StreamSize::chunk() const { return static_cast<int>(ceil_div(ceil_div(n, ceil_div(n, kChunk)), 16) * 16); }
int StreamSize::bn() const { return static_cast<int>(ceil_div(n, chunk()) * chunk()); }

StreamShape parse_stream(const Config& config) {
  auto number = [&](const char* key) { return config_ints(config, key)[0]; };
  return {number("rows"), number("warps"), number("stages"), number("blocks")};
}

Support accepts_stream(const StreamSize& size, const Target& target) {
  REQUIRE(size.m * size.batch >= kFewestRows, "fewer than " + std::to_string(kFewestRows) + " rows");
  REQUIRE(size.batch == 1 || size.m >= kFewestRowsOfProduct, "fewer than " + std::to_string(kFewestRowsOfProduct) + " rows for each of several weights");
  REQUIRE(size.k <= 512 && size.n <= 1024, "weights of more than 1024 x 512");
  REQUIRE(!shapes(size, target).empty(), "weights that leave no shared memory for rows");
  return Support::yes();
}

double estimate_stream(const StreamSize& size, const StreamShape& shape, const Target& target) {
  const double bandwidth = copy_rate(target), sms = multiprocessors(target), tensor = tensor_rate(target) * (size.element == 4 ? 0.15 : 0.3);
  // What the pipelines and the warps that store keep in flight.
  const double loads = sms * shape.blocks * (shape.stages - 1.0) * tile_bytes(size, shape) / (bandwidth * kLatency);
  const double warps = shape.blocks * shape.warps / 16.0;
  const double share = static_cast<double>(size.k) / (size.k + size.n);  // of the traffic that is loads
  const double reached = std::min({1.0, loads / std::max(share, 0.1), warps});
  const double waves = static_cast<double>(ceil_div(size.m, shape.rows) * size.batch) / (sms * shape.blocks);
  const double math = 2.0 * size.m * size.batch * size.bn() * size.bk() / tensor;
  return 4e-6 + std::max(size.bytes / (0.9 * bandwidth * reached), math) * std::ceil(waves) / waves;
}

std::vector<Config> stream_configs(const StreamSize& size, const Target& target, int level) {
  std::vector<std::pair<double, Config>> all;
  for (const StreamShape& shape : shapes(size, target)) all.push_back({estimate_stream(size, shape, target), str(shape)});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Config> configs;
  for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level <= 3 ? level + 1 : 12); ++i) configs.push_back(all[i].second);
  return configs;
}

KernelSource stream_source(const StreamText& text, KernelParams& params, bool wide, const Target& target) {
  const StreamSize& size = text.size;
  Tile tile;
  tile.warps_m = text.shape.warps, tile.warps_n = 1;
  const bool k_edge = size.k != size.bk();
  const std::string loaders = "typedef " + matrix_loader("TgmA", tile, text.a, !divisible(text.m, text.shape.rows), k_edge, false) + " TgmLoadA;\ntypedef " +
                              matrix_loader("TgmB", tile, text.b, size.n != size.bn(), k_edge, false) + " TgmLoadB;\n";
  const Dim blocks = blocks_of_product(text, target);
  const codegen::Vars vars = {{"BLOCKS", std::to_string(text.shape.blocks)},
                              {"M", params.size(text.m)},
                              {"N", std::to_string(size.n)},
                              {"K", std::to_string(size.k)},
                              {"A", text.a_base},
                              {"B", text.b_base},
                              {"PLACE", place_text(text, params, blocks)},
                              {"A_ROW", params.offset(text.a.row)},
                              {"B_ROW", params.offset(text.b.row)},
                              {"W_CONSTANT", text.constant_weights ? "true" : "false"},
                              {"COORDS", text.store_coords}};
  const std::string body = text.epilogue + tile_text() + defines(text) + mma_core_text() + loaders + codegen::fill(kStreamFrame, vars);
  Dim grid = blocks;
  for (const Dim& b : text.batch) grid *= b;
  KernelSource source = one_launch("tg_stream", grid, 32 * text.shape.warps, params, target);
  source.step.launches[0].shared_bytes = shared_bytes(size, text.shape);
  source.text = assemble(params, wide, body);
  return source;
}

}  // namespace tuyere::mma
