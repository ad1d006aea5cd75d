// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/gemm.h"

#include <algorithm>

#include "common/error.h"
#include "kernels/codegen/kernel.h"
#include "kernels/mma/device_text.h"

namespace tuyere::mma {
namespace {

constexpr const char* kGemmFrame = R"CUDA(
struct tgm_loaders {
  TgmLoadA a;
  TgmLoadB b;
  unsigned smem;
  int first;
  TGM_DEV_MEMBER void begin(int stage, int tile) {
    unsigned at = smem + (unsigned)(stage * TGM_STAGE_BYTES);
    a.begin(at, (first + tile) * TGM_BK);
    b.begin(at + TgmA::BYTES, (first + tile) * TGM_BK);
  }
  TGM_DEV_MEMBER void end(int stage) {
    unsigned at = smem + (unsigned)(stage * TGM_STAGE_BYTES);
    a.end(at);
    b.end(at + TgmA::BYTES);
  }
};
extern "C" __global__ void __launch_bounds__(TGM_THREADS) tg_gemm(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  const int size_m = $M, size_n = $N;
  const int tiles_m = (size_m + TGM_BM - 1) / TGM_BM, tiles_n = (size_n + TGM_BN - 1) / TGM_BN;
  /* Tiles go down eight rows of blocks before the next column, so that a wave shares its operands in L2. */
  int id = (int)blockIdx.x;
  int tile = id % (tiles_m * tiles_n);
  id /= tiles_m * tiles_n;
  const int split = id % $SPLITS;
  int batch = id / $SPLITS;
  int group = tile / (8 * tiles_n), in_group = tile % (8 * tiles_n);
  int rows = tiles_m - group * 8 < 8 ? tiles_m - group * 8 : 8;
  const int m0 = (group * 8 + in_group % rows) * TGM_BM, n0 = in_group / rows * TGM_BN;
$BATCH
  const int size_k = $K, k_tiles = (size_k + TGM_BK - 1) / TGM_BK, per_split = (k_tiles + $SPLITS - 1) / $SPLITS;
  const int first = split * per_split;
  int count = k_tiles - first < per_split ? k_tiles - first : per_split;
  if (count < 0) count = 0;
  tgm_loaders load;
  load.smem = tgm_smem(tg_smem);
  load.first = first;
  tgm_grid_wait();
$SETUP
  tgm_core core;
  core.init(load.smem);
  tgm_pipeline<TGM_STAGES>(load, core, count);
  core.store((float*)tg_smem, [&](int r, int c, const float* x) {
    int m = m0 + r, n = n0 + c;
    if (m < size_m && n < size_n) {
$STORE
    }
  });
}
)CUDA";

// Partial sums: [split][batch][m][n] floats.
constexpr const char* kSplitStore = R"CUDA(
      float* to = $WORKSPACE + (((long long)split * $BATCHES + batch_id) * size_m + m) * size_n + n;
      if (size_n % TGM_V == 0) {
        float y[TGM_V];
#pragma unroll
        for (int e = 0; e < TGM_V; ++e) y[e] = x[e];
        tg_store<TGM_V>(to, y);
      } else {
#pragma unroll
        for (int e = 0; e < TGM_V; ++e) if (n + e < size_n) to[e] = x[e];
      })CUDA";

constexpr const char* kSplitSum = R"CUDA(
extern "C" __global__ void __launch_bounds__(256) tg_gemm_sum(TG_PARAMS) {
  tgm_grid_launch_next();
  const int size_m = $M, size_n = $N;
  const int per_row = (size_n + TGM_V - 1) / TGM_V;
  long long id = (long long)blockIdx.x * 256 + threadIdx.x;
  const int n = (int)(id % per_row) * TGM_V;
  id /= per_row;
  const int m = (int)(id % size_m);
  int batch = (int)(id / size_m);
  if (batch >= $BATCHES) return;
  tgm_grid_wait();
  const float* from = $WORKSPACE + ((long long)batch * size_m + m) * size_n + n;
$BATCH
  const int left = size_n % TGM_V == 0 ? TGM_V : size_n - n;
  float x[TGM_V];
#pragma unroll
  for (int e = 0; e < TGM_V; ++e) x[e] = 0.f;
  for (int s = 0; s < $SPLITS; ++s) {
    if (size_n % TGM_V == 0) {
      float y[TGM_V];
      tg_load<TGM_V>(y, from);
#pragma unroll
      for (int e = 0; e < TGM_V; ++e) x[e] += y[e];
    } else {
#pragma unroll
      for (int e = 0; e < TGM_V; ++e) if (e < left) x[e] += from[e];
    }
    from += (long long)$BATCHES * size_m * size_n;
  }
$PLACE
  tgm_epilogue(TG_ARGS, $COORDS, x, left);
}
)CUDA";

std::string constants(const GemmText& text) {
  const Tile& t = text.tile;
  auto define = [](const char* key, int value) { return std::string("#define ") + key + " " + std::to_string(value) + "\n"; };
  std::string out =
      define("TGM_BM", t.bm) + define("TGM_BN", t.bn) + define("TGM_BK", t.bk) + define("TGM_STAGES", t.stages) + define("TGM_THREADS", t.threads());
  if (!t.simt) out += define("TGM_WARPS_M", t.warps_m) + define("TGM_WARPS_N", t.warps_n) + "#define TGM_MMA " + mma_name(text.dtype) + "\n";
  const std::string element = std::to_string(size_of(text.dtype));
  out += "typedef tgm_tile<TGM_BM, TGM_BK, " + element + ", " + (text.a_kmajor ? "true" : "false") + "> TgmA;\n";
  out += "typedef tgm_tile<TGM_BN, TGM_BK, " + element + ", " + (text.b_kmajor ? "true" : "false") + "> TgmB;\n";
  return out;
}

}  // namespace

std::string batch_text(const std::vector<std::string>& sizes) {
  std::string text = "  const int batch_id = batch; (void)batch_id;\n";
  for (size_t i = sizes.size(); i-- > 0;) {
    std::string b = "b" + std::to_string(i);
    text += i ? "  const int " + b + " = batch % " + sizes[i] + "; batch /= " + sizes[i] + ";\n" : "  const int " + b + " = batch;\n";
  }
  return text;
}

void add_split_sum(KernelSource& source, std::string& body, const codegen::Vars& vars, int width, const Dim& m, const Dim& n, const Dim& batch) {
  body += codegen::fill(kSplitSum, vars);
  KernelLaunch launch = source.step.launches.back();
  launch.kernel = "tg_gemm_sum";
  launch.grid = {ceildiv(ceildiv(n, width) * m * batch, 256), 1, 1};
  launch.block = {256, 1, 1};
  launch.shared_bytes = 0;
  source.step.launches.push_back(launch);
}

std::string matrix_loader(const char* tile, const Tile& t, const Matrix& matrix, bool row_edge, bool k_edge, bool simt) {
  const int vec = simt && !matrix.k.is_const(1) ? 4 : access_bytes(matrix);
  const bool rowfast = simt && !matrix.k.is_const(1) && matrix.row.is_const(1);
  auto flag = [](bool b) { return b ? "true" : "false"; };
  return std::string("tgm_matrix_loader<") + tile + ", " + std::to_string(t.threads()) + ", " + std::to_string(vec) + ", " + flag(rowfast) + ", " +
         flag(row_edge) + ", " + flag(k_edge) + ", TGM_IDX>";
}

int access_bytes(const Matrix& matrix) {
  const int element = size_of(matrix.dtype);
  const bool k_major = matrix.k_major();
  if (!(k_major ? matrix.k : matrix.row).is_const(1)) return element;
  for (int bytes = 16; bytes > element; bytes /= 2) {
    const int count = bytes / element;
    bool ok = matrix.alignment % bytes == 0 && divisible(k_major ? matrix.row : matrix.k, count);
    for (const Dim& b : matrix.batch) ok = ok && divisible(b, count);
    if (ok) return bytes;
  }
  return element;
}

KernelSource gemm_source(const GemmText& text, KernelParams& params, bool wide, const Target& target, const Dim& m, const Dim& n, const Dim& batch) {
  const Tile& t = text.tile;
  const bool split = t.splits > 1;
  std::string workspace = split ? params.pointer(text.workspace, DType::F32, true) : "";
  const std::string batches = params.size(batch);
  codegen::Vars vars = {{"M", text.m},
                        {"N", text.n},
                        {"K", text.k},
                        {"SPLITS", std::to_string(t.splits)},
                        {"BATCH", batch_text(text.batch)},
                        {"SETUP", text.setup},
                        {"BATCHES", batches},
                        {"WORKSPACE", workspace},
                        {"PLACE", text.place},
                        {"COORDS", text.store_coords}};
  vars.push_back({"STORE", split ? codegen::fill(kSplitStore, vars)
                                 : text.place + "      tgm_epilogue(TG_ARGS, " + text.store_coords + ", x, size_n % TGM_V == 0 ? TGM_V : size_n - n);"});
  std::string body =
      text.epilogue + tile_text() + constants(text) + (t.simt ? simt_core_text() : mma_core_text()) + text.loader_types + codegen::fill(kGemmFrame, vars);
  KernelSource source = one_launch("tg_gemm", ceildiv(m, t.bm) * ceildiv(n, t.bn) * batch * Dim(t.splits), t.threads(), params, target);
  source.step.launches[0].shared_bytes = t.shared_bytes(size_of(text.dtype));
  if (split) {
    source.workspace = ceildiv(m * n * batch * Dim(4 * t.splits), 256) * Dim(256);
    add_split_sum(source, body, vars, text.width, m, n, batch);
  }
  source.text = assemble(params, wide, body);
  return source;
}

Support KernelTactic::supports(const Problem& problem, const Target& target) const {
  REQUIRE(target.is_cuda(), "not a CUDA target");
  REQUIRE(target.sm >= 80, "needs compute capability 8.0 or newer");
  Support types = codegen::whole_byte_types(problem);
  if (!types) return types;
  return accepts(problem, target);
}

StepSpec KernelTactic::make(const Problem& problem, const Target& target, const Config& config) const {
  if (!codegen::is_empty(problem)) {
    KernelSource source = generate(problem, target, config);
    source.text.insert(0, codegen::rough_text(problem));
    return compile_step(source, target);
  }
  StepSpec spec;
  spec.executor = "cuda";
  spec.attrs = to_json(CudaStep{});
  return spec;
}

}  // namespace tuyere::mma
