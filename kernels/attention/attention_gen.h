// SPDX-License-Identifier: Apache-2.0
// CUDA attention: softmax(scale q k^T + mask) v for any strides, grouped heads, masks by broadcast strides. A row without any key gives 0.
#pragma once
#include <string>

#include "kernels/mma/gemm.h"

namespace tuyere::attention {

/// What both kernels need of a problem.
struct View {
  Dim batch, heads, queries, keys;
  Dim kv_heads;
  int64_t depth = 0, value_depth = 0;
  std::vector<Dim> q, k, v;  // element strides [b, h, s, d]
  std::vector<Dim> mask;     // over [b, h, query, key]; empty without one
  DType type = DType::F32, mask_type = DType::F32;
  int alignment = 256;  // the least of q, k, v
  double scale = 1;
  bool causal = false;
  mma::EpilogueTensor out;  // over [b, h, query, d]
};
View view(const Problem& problem);
/// Tile sizes of the tensor-core kernel: 16 queries per warp.
struct FlashShape {
  int queries = 64, keys = 64;
  int shared_bytes(const View& view) const;
};
/// f16 and bf16, depth up to 256 in multiples of 8: online softmax in f32 registers, probabilities never leave them.
mma::KernelSource flash_source(const Problem& problem, const Target& target, const FlashShape& shape);
/// Every float type and size: four queries per block.
mma::KernelSource generic_source(const Problem& problem, const Target& target);

}  // namespace tuyere::attention
