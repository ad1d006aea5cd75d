// SPDX-License-Identifier: Apache-2.0
// Runs a TileProgram over an index space of strided operands, in parallel.
#pragma once
#include <vector>

#include "kernels/cpu/views.h"
#include "kernels/pointwise/nest_tiles.h"
#include "kernels/pointwise/tile_cpu.h"

namespace tuyere::cpu {

class TileLoop {
 public:
  static constexpr int kMaxOperands = 64;
  /// operands: the outputs, then the inputs, all broadcast to `space`.
  /// cost: relative cost of one element, for the number of threads.
  TileLoop(TileProgram program, const View& space, const std::vector<View>& operands, int outputs, int64_t cost);
  /// data: addresses of the operands.
  void run(void* const* data) const;

 private:
  void run_tiles(void* const* data, int thread, int64_t begin, int64_t end) const;

  TileProgram program_;
  NestTiles tiles_;
  std::vector<int64_t> bytes_;  // per operand
  int outputs_;
  int threads_;
  TileScratch scratch_;
};

}  // namespace tuyere::cpu
