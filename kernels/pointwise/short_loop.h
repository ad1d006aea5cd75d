// SPDX-License-Identifier: Apache-2.0
// Short programs over bf16 tensors, from memory to memory in registers, without tiles of f32 between them: one function of two tensors, and
// relu(x * scale + shift) with factors of f32.
#pragma once
#include <array>
#include <optional>

#include "kernels/api/program.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/nest_tiles.h"

namespace tuyere::cpu {

using ShortOperands = std::array<Patch, 3>;  // those that the function has

/// out[r, c] = f(in[0][r, c], ...), in f32 and rounded once. Columns lie side by side in out, and do so or are one value in the inputs.
using ShortFn = void (*)(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols);

/// in[0] * in[1] + in[2]: bf16, then factors of f32.
ShortFn short_affine();

class ShortLoop {
 public:
  /// operands: the output, then the program's inputs, all broadcast to `space`. Nothing when the program, or how the operands lie, is not for this.
  static std::optional<ShortLoop> of(const Program& program, const View& space, const std::vector<View>& operands);
  /// data: addresses of the operands.
  void run(void* const* data) const;

 private:
  ShortLoop(ShortFn fn, NestTiles tiles, std::vector<int> in, const std::vector<View>& operands);

  ShortFn fn_;
  NestTiles tiles_;
  std::vector<int> in_;  // the function's operands
  std::vector<int64_t> bytes_;
  int threads_;
};

}  // namespace tuyere::cpu
