// SPDX-License-Identifier: Apache-2.0
// Products of many rows with a small matrix (1x1 convolutions of few channels, narrow linear layers), which memory bounds: the weights stay in shared
// memory, blocks stay on their multiprocessor, and row tiles stream through a pipeline whose stages are whole tiles of rows instead of pieces of k.
#pragma once
#include <string>
#include <vector>

#include "kernels/mma/gemm.h"

namespace tuyere::mma {

/// "rows=128 warps=4 stages=3 blocks=2": rows per tile, tiles in shared memory, blocks per multiprocessor.
struct StreamShape {
  int rows = 128, warps = 4, stages = 3, blocks = 1;
};
StreamShape parse_stream(const Config& config);

/// What the shapes are for. m and batch at the hints; bytes: memory traffic of the whole problem.
struct StreamSize {
  int64_t m = 1, n = 1, k = 1, batch = 1;
  int element = 2;
  double bytes = 0;
  int bk() const;     // k, padded to whole instructions
  int chunk() const;  // columns that are accumulated at a time
  int bn() const;     // n, padded to whole chunks
};
/// Whether the weights leave room for row tiles, and there are rows enough to keep blocks busy.
Support accepts_stream(const StreamSize& size, const Target& target);
std::vector<Config> stream_configs(const StreamSize& size, const Target& target, int level);
double estimate_stream(const StreamSize& size, const StreamShape& shape, const Target& target);

struct StreamText {
  StreamShape shape;
  StreamSize size;
  DType dtype = DType::F16;      // of both operands
  Matrix a, b;                   // rows x k and columns x k, both k-major
  Dim m;                         // rows
  std::vector<Dim> batch;        // coordinates b0, b1, ... of products with weights of their own
  std::string a_base, b_base;    // pointers
  bool constant_weights = true;  // may be read before earlier kernels end
  std::string epilogue;          // text of tgm_epilogue
  int width = 8;                 // its values per call
  std::string store_coords;      // arguments of tgm_epilogue from (b0, ..., m, n)
};
/// Kernel "tg_stream".
KernelSource stream_source(const StreamText& text, KernelParams& params, bool wide, const Target& target);

}  // namespace tuyere::mma
