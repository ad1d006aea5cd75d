// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/nest_tiles.h"

#include <cstdlib>

namespace tuyere::cpu {
namespace {

constexpr int64_t kTransposeRows = 16, kTransposeCols = 32;

bool pair_transposed_dims(LoopNest& nest) {
  const int inner = nest.rank - 1;
  for (const Ix& s : nest.strides) {
    if (std::abs(s[inner]) <= 1) continue;
    for (int d = inner - 1; d >= 0; --d) {
      if (std::abs(s[d]) != 1 || nest.shape[d] < 4) continue;
      for (int e = d; e + 1 < inner; ++e) {
        std::swap(nest.shape[e], nest.shape[e + 1]);
        for (Ix& t : nest.strides) std::swap(t[e], t[e + 1]);
      }
      return true;
    }
  }
  return false;
}

int64_t blocks(int64_t size, int64_t block) { return (size + block - 1) / block; }

}  // namespace

LoopNest nest_of(const View& space, const std::vector<View>& operands) {
  std::vector<Ix> strides;
  for (const View& v : operands) strides.push_back(v.strides);
  LoopNest nest = make_nest(space.rank, space.shape, strides);
  if (nest.rank == 1) {
    nest.shape[1] = nest.shape[0];
    nest.shape[0] = 1;
    for (Ix& s : nest.strides) {
      s[1] = s[0];
      s[0] = 0;
    }
    nest.rank = 2;
  }
  return nest;
}

NestTiles::NestTiles(LoopNest nest, int64_t limit) : nest_(std::move(nest)) {
  const int inner = nest_.rank - 1;
  const bool transposed = pair_transposed_dims(nest_);
  cols_ = std::clamp<int64_t>(nest_.shape[inner], 1, transposed ? std::min(limit, kTransposeCols) : limit);
  const int64_t fit = limit / cols_;
  rows_ = std::clamp<int64_t>(nest_.shape[inner - 1], 1, std::max<int64_t>(1, transposed ? std::min(fit, std::max(kTransposeRows, fit / 2)) : fit));
  blocks_.rank = nest_.rank;
  blocks_.shape = nest_.shape;
  blocks_.shape[inner] = blocks(nest_.shape[inner], cols_);
  blocks_.shape[inner - 1] = blocks(nest_.shape[inner - 1], rows_);
  count_ = nest_.numel() == 0 ? 0 : product(blocks_.rank, blocks_.shape);
}

NestTile NestTiles::tile(const Odometer& at) const {
  const int inner = nest_.rank - 1;
  NestTile t{at.index};
  t.index[inner] *= cols_;
  t.index[inner - 1] *= rows_;
  t.cols = std::min(cols_, nest_.shape[inner] - t.index[inner]);
  t.rows = std::min(rows_, nest_.shape[inner - 1] - t.index[inner - 1]);
  return t;
}

}  // namespace tuyere::cpu
