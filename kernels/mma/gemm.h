// SPDX-License-Identifier: Apache-2.0
// Tiles, their cost and the kernel frame shared by matrix multiplication and implicit-GEMM convolution.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/tactic.h"
#include "kernels/codegen/kernel.h"
#include "kernels/mma/kernel_source.h"

namespace tuyere::mma {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// "tile=128x128x32 stages=3 warps=2x2 splitk=1". bk in elements. FFMA tiles have 16 x 16 threads and no warps.
struct Tile {
  int bm = 128, bn = 128, bk = 32, stages = 3, warps_m = 2, warps_n = 2, splits = 1;
  bool simt = false;
  int threads() const { return simt ? 256 : 32 * warps_m * warps_n; }
  int stage_bytes(int element) const { return (bm + bn) * bk * element; }
  /// Dynamic shared memory: the pipeline, reused by the epilogue.
  int shared_bytes(int element) const;
};
Config str(const Tile& tile);
Tile parse_tile(const Config& config, bool simt);

/// The sizes that decide which tile is good, at the hints. `mn_major`: an operand's rows, not k, are contiguous (its tile must be a power of two).
struct GemmSize {
  int64_t m = 1, n = 1, k = 1, batch = 1;
  int element = 2;
  double bytes = 0;  // memory traffic of the whole problem
  bool may_split = true;
};
/// What the target says of itself, or what its architecture usually has.
int multiprocessors(const Target& target);
int shared_limit(const Target& target);    // bytes of shared memory per block
double copy_rate(const Target& target);    // bytes per second
double tensor_rate(const Target& target);  // dense f16 FLOP per second
double estimate(const GemmSize& size, const Tile& tile, const Target& target);
/// All sensible tiles, the cheapest first, at most the count for the optimization level.
std::vector<Config> tile_configs(const GemmSize& size, const Target& target, bool simt, int level);

/// One matrix operand in global memory.
struct Matrix {
  int position = 0;
  DType dtype = DType::F32;
  Dim row, k;              // element strides
  std::vector<Dim> batch;  // element strides per batch coordinate
  int alignment = 256;
  bool k_major() const { return k.is_const(1) || !row.is_const(1); }
};
/// Bytes per access that alignment and strides allow: 16, 8, 4 (asynchronous) or the element size.
int access_bytes(const Matrix& matrix);

/// The text of a GEMM: constants and tile types, core, epilogue, kernel. The pieces vary by family.
struct GemmText {
  Tile tile;
  DType dtype = DType::F16;  // of both operands
  bool a_kmajor = true, b_kmajor = true;
  std::string epilogue;            // text of tgm_epilogue
  int width = 8;                   // its values per call
  std::string loader_types;        // typedefs TgmLoadA, TgmLoadB
  std::string setup;               // statements that fill loaders `load.a`, `load.b` from int m0, n0 and the batch coordinates
  std::vector<std::string> batch;  // sizes of the batch coordinates b0, b1, ...
  std::string m, n, k;             // sizes as expressions, k also of the batch coordinates
  std::string place;               // statements before store_coords is used, from (b0.., m, n); they return where nothing is stored
  std::string store_coords;        // arguments of tgm_epilogue from (b0.., m, n)
  int workspace = -1;              // position of the workspace pointer when splits > 1
};
/// Kernels "tg_gemm" and, when split, "tg_gemm_sum", appended to `source.step` with grids over the given sizes.
KernelSource gemm_source(const GemmText& text, KernelParams& params, bool wide, const Target& target, const Dim& m, const Dim& n, const Dim& batch);
/// Statements that split int `batch` into b0, b1, ... (and keep it as batch_id).
std::string batch_text(const std::vector<std::string>& sizes);
/// Appends kernel "tg_gemm_sum", the ordered sum of the partial results [split][batch][m][n] followed by the epilogue, with the parameters of the last launch.
/// vars: M, N, SPLITS, BATCH, BATCHES, WORKSPACE, PLACE, COORDS.
void add_split_sum(KernelSource& source, std::string& body, const codegen::Vars& vars, int width, const Dim& m, const Dim& n, const Dim& batch);
/// Type text of a strided matrix loader.
std::string matrix_loader(const char* tile, const Tile& t, const Matrix& matrix, bool row_edge, bool k_edge, bool simt);

/// supports() and make() of all tactics here.
class KernelTactic : public Tactic {
 public:
  std::string_view source() const final { return "own"; }
  Support supports(const Problem& problem, const Target& target) const final;
  StepSpec make(const Problem& problem, const Target& target, const Config& config) const final;
  /// The source for a supported, non-empty problem; what make() compiles.
  virtual KernelSource generate(const Problem& problem, const Target& target, const Config& config) const = 0;

 protected:
  virtual Support accepts(const Problem& problem, const Target& target) const = 0;
};

}  // namespace tuyere::mma
