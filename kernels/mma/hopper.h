// SPDX-License-Identifier: Apache-2.0
// Products by warpgroup instructions (wgmma) of tiles that the tensor memory accelerator loads: compute capability 9.0.
#pragma once
#include "kernels/mma/gemm.h"

namespace tuyere::mma {

/// "tile=128x256 stages=4 cluster=2 alternate=0". One warp loads, two warpgroups multiply: together half a tile each, or in turns (`alternate`) a whole tile
/// each, so that one writes its results while the other multiplies. `cluster`: blocks that share the tile of b, each of which loads a part for all.
struct HopperTile {
  int bm = 128, bn = 256, stages = 4, cluster = 1;
  bool alternate = false;
  /// Rows of accumulators per warpgroup.
  int rows() const { return alternate ? bm : bm / 2; }
  int shared_bytes() const;
};
Config str(const HopperTile& tile);
HopperTile parse_hopper_tile(const Config& config);

double estimate_hopper(const GemmSize& size, const HopperTile& tile, const Target& target);
/// The cheapest first, at most the count for the optimization level.
std::vector<Config> hopper_configs(const GemmSize& size, const Target& target, int level);
/// Types, strides and alignments that the accelerator takes: 16-bit floats, one of row and k contiguous, everything else in multiples of 16 bytes, at most one
/// batch coordinate.
Support accepts_hopper(const Matrix& matrix);

struct HopperText {
  HopperTile tile;
  DType dtype = DType::F16;  // of both operands
  Matrix a, b;
  Dim m, n, k, batch;
  std::string epilogue;      // text of tgm_epilogue for one or four columns
  std::string store_coords;  // its coordinates from b0 (where there is a batch), m, n
};
/// Kernel "tg_gemm" with at most a block per multiprocessor.
KernelSource hopper_source(const HopperText& text, KernelParams& params, bool wide, const Target& target);

}  // namespace tuyere::mma
