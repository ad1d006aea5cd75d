// SPDX-License-Identifier: Apache-2.0
// An iteration space cut into rows x cols tiles.
#pragma once
#include <vector>

#include "kernels/cpu/views.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {

struct NestTile {
  Ix index{};  // of the first element
  int64_t rows = 0, cols = 0;
  int64_t count() const { return rows * cols; }
};

/// Tiles of at most `limit` elements over the last two dims of a nest. When an operand is scattered along the inner dim but dense along
/// another one, that one becomes the second innermost, and tiles are square enough to use whole cache lines on both sides.
class NestTiles {
 public:
  NestTiles() = default;
  NestTiles(LoopNest nest, int64_t limit);

  const LoopNest& nest() const { return nest_; }
  int64_t count() const { return count_; }
  /// Whether the space is one dim: tile number n then starts at element n * cols().
  bool flat() const { return nest_.rank == 2 && nest_.shape[0] == 1; }
  int64_t cols() const { return cols_; }
  /// Positioned at tile `number`; advance with next().
  Odometer start(int64_t number) const {
    Odometer o = blocks_;
    o.seek(number);
    return o;
  }
  NestTile tile(const Odometer& at) const;
  /// Element offset of the tile in operand k.
  int64_t offset(int k, const Ix& index) const {
    const Ix& s = nest_.strides[k];
    int64_t o = 0;
    for (int d = 0; d < nest_.rank; ++d) o += index[d] * s[d];
    return o;
  }
  /// The tile in operand k whose first element of the space lies at `data`.
  Patch patch(int k, const NestTile& tile, const void* data, int64_t bytes) const {
    const Ix& s = nest_.strides[k];
    return {static_cast<const char*>(data) + offset(k, tile.index) * bytes, s[nest_.rank - 2], s[nest_.rank - 1]};
  }

 private:
  LoopNest nest_;
  Odometer blocks_;
  int64_t rows_ = 1, cols_ = 1, count_ = 0;
};

/// The nest of `space` with the strides of `operands` (all broadcast to it), at least two dims.
LoopNest nest_of(const View& space, const std::vector<View>& operands);

}  // namespace tuyere::cpu
