// SPDX-License-Identifier: Apache-2.0
// Elementwise code for inputs whose innermost dim is not the outputs': tiles go through shared memory so that both sides move whole sectors.
#pragma once
#include <optional>

#include "kernels/codegen/elementwise.h"

namespace tuyere::codegen {

struct TilePlan {
  int a = 0, b = 0;         // dims of the space: innermost of the outputs, of the tiled inputs
  std::vector<bool> tiled;  // per input
  int tile = 32;            // elements along a and b
  int vec_a = 1, vec_b = 1;
  int threads = 256;
  int band = 0;         // tiles along a that blocks go through before the next along b; 0: all of them
  bool packed = false;  // tiles hold words that are neighbours along a: both sides of shared memory move 4 and 16 bytes
};

/// How to tile `e`, or nothing when no input is transposed.
std::optional<TilePlan> tile_plan(const Elementwise& e, const Symbols& hints);
/// tile_plan's first; from level 3 on also larger or packed tiles and other orders of blocks.
std::vector<Config> tile_configs(const Elementwise& e, const Symbols& hints, int level);
TilePlan parse_tile_plan(const Config& config, const Elementwise& e, const Symbols& hints);
Kernel transpose_kernel(const std::string& name, const Elementwise& e, const TilePlan& plan);

}  // namespace tuyere::codegen
