// SPDX-License-Identifier: Apache-2.0
// Programs that are one function of two bf16 tensors, from memory to memory in registers: without tiles of f32 between them.
#pragma once
#include <optional>

#include "kernels/api/program.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/nest_tiles.h"

namespace tuyere::cpu {

/// out[r, c] = f(a[r, c], b[r, c]), in f32 and rounded once. Columns lie side by side in out, and do so or are one value in a and b.
using PairFn = void (*)(const Patch& a, const Patch& b, const Patch& out, int64_t rows, int64_t cols);

class PairLoop {
 public:
  /// operands: the output, then the program's inputs, all broadcast to `space`. Nothing when the program, or how the operands lie, is not for this.
  static std::optional<PairLoop> of(const Program& program, const View& space, const std::vector<View>& operands);
  /// data: addresses of the operands.
  void run(void* const* data) const;

 private:
  PairLoop(PairFn fn, NestTiles tiles, int a, int b);

  PairFn fn_;
  NestTiles tiles_;
  int a_, b_;  // operands
  int threads_;
};

}  // namespace tuyere::cpu
