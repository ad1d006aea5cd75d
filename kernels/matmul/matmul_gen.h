// SPDX-License-Identifier: Apache-2.0
// Generators of the CUDA matmul kernels. Any strides, batch broadcast, symbolic sizes, epilogue programs.
#pragma once
#include "kernels/matmul/matmul_view.h"
#include "kernels/mma/hopper.h"
#include "kernels/mma/stream.h"

namespace tuyere::matmul {

/// Tensor cores (f16, bf16, tf32) or FFMA (f32): kernels/mma.
mma::KernelSource tiled_source(const Problem& problem, const Target& target, const mma::Tile& tile);
/// Many rows with a small matrix whose k is contiguous (kernels/mma/stream.h).
mma::KernelSource stream_source(const Problem& problem, const Target& target, const mma::StreamShape& shape);
/// Hopper's warpgroup instructions, operands as mma::accepts_hopper() asks (kernels/mma/hopper.h).
mma::KernelSource wgmma_source(const Problem& problem, const Target& target, const mma::HopperTile& tile);
mma::StreamSize stream_size(const Problem& problem, const View& view);
/// Products of at most eight rows (or columns): one pass over the weights by warps.
/// "vec" elements per load, "warps" per block, "splitk" blocks along k, "cols" columns per warp.
struct GemvShape {
  int warps = 4, splits = 1, columns = 1;
};
mma::KernelSource gemv_source(const Problem& problem, const Target& target, const GemvShape& shape);
/// Every type and layout, also of gated units: 64 x 64 tiles in plain arithmetic.
mma::KernelSource generic_source(const Problem& problem, const Target& target);

/// The narrow side of a gemv: rows after `swapped` exchanged the operands, 0 when neither side is narrow.
int gemv_rows(const View& view, bool* swapped);

}  // namespace tuyere::matmul
