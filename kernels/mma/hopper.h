// SPDX-License-Identifier: Apache-2.0
// Products by warpgroup instructions (wgmma) of tiles that the tensor memory accelerator loads: compute capability 9.0.
#pragma once
#include <optional>

#include "kernels/mma/gemm.h"

namespace tuyere::mma {

/// "tile=128x256 stages=4 cluster=2x1 alternate=0 split=1". One warpgroup loads, two or three multiply: together an equal part of a tile each, or two of them
/// in turns (`alternate`) a whole tile each, so that one writes its results while the other multiplies. `cluster`: blocks that share the tile of b (neighbours
/// in m) or of a (in n; not both), each of which loads a part for all. `split`: so many such groups of blocks share tiles of the result, with a part of k each,
/// and add up their sums through each other's shared memory; not in turns.
struct HopperTile {
  int bm = 128, bn = 256, stages = 4, cluster_m = 1, cluster_n = 1;
  bool alternate = false;
  int split = 1;
  int cluster() const { return cluster_m * cluster_n; }
  /// Warpgroups that multiply.
  int groups() const { return !alternate && bm == 192 ? 3 : 2; }
  int threads() const { return 128 * (1 + groups()); }
  /// Rows of accumulators per warpgroup.
  int rows() const { return alternate ? bm : bm / groups(); }
  int shared_bytes() const;
};
Config str(const HopperTile& tile);
HopperTile parse_hopper_tile(const Config& config);

/// What a problem asks of a tile. Loads are of boxes of 64 columns where columns, not k, are contiguous; two products have one matrix each.
struct HopperLimits {
  bool a_kmajor = true, b_kmajor = true, gated = false;
  bool take(const HopperTile& tile) const {
    const int rows = tile.bm / tile.cluster_n, columns = gated ? tile.bn / 2 : tile.bn / tile.cluster_m;
    return rows % (a_kmajor ? 16 : 64) == 0 && columns % (b_kmajor ? 16 : 64) == 0 && (tile.split == 1 || !gated);
  }
};

double estimate_hopper(const GemmSize& size, const HopperTile& tile, const Target& target);
/// The cheapest first, at most the count for the optimization level.
std::vector<Config> hopper_configs(const GemmSize& size, const Target& target, int level, const HopperLimits& limits);
/// Types, strides and alignments that the accelerator takes: 16-bit floats, one of row and k contiguous, everything else in multiples of 16 bytes, at most one
/// batch coordinate.
Support accepts_hopper(const Matrix& matrix);

/// Outputs that may be both staged and shifted: each needs room for what is carried from one group of columns to the next.
constexpr size_t kMostShifted = 2;

struct HopperText {
  HopperTile tile;
  DType dtype = DType::F16;  // of both operands
  Matrix a, b;
  std::optional<Matrix> b2;  // of a second product, whose values the epilogue gets after those of the first
  bool b_constant = false;   // nothing before the kernel writes b
  Dim m, n, k, batch;
  std::string epilogue;      // text of tgm_epilogue
  int width = 1;             // its columns: one, four or eight
  int staged_outputs = 0;    // how many outputs tgm_pair_epilogue makes, when whole tiles are turned in shared memory; the epilogue is for the others
  bool shifted = false;      // rows of theirs begin at addresses that are not multiples of 16 bytes
  int given = 0;             // how many 16-bit tensors it is handed, which come as results leave, their rows in multiples of 16 bytes
  std::string store_coords;  // its coordinates from b0 (where there is a batch), m, n
};
/// Kernel "tg_gemm" with at most a block per multiprocessor.
KernelSource hopper_source(const HopperText& text, KernelParams& params, bool wide, const Target& target);

}  // namespace tuyere::mma
