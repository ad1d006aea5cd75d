// SPDX-License-Identifier: Apache-2.0
// The prologue of a row-wise kernel: its values over an index space that is split into outer dims and row dims.
#pragma once
#include <vector>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/nest_tiles.h"
#include "kernels/pointwise/tile_cpu.h"

namespace tuyere::cpu {

/// `v` restricted to the dims with flag[d] == wanted; the others become size 1.
View restrict_dims(const View& v, const std::array<bool, kMaxRank>& flag, bool wanted);

/// Operands whose addresses are those of step pointers.
struct Operands {
  std::vector<View> views;
  std::vector<int> slots;
  std::vector<int64_t> bytes;
  void add(const View& v, int slot) {
    views.push_back(v);
    slots.push_back(slot);
    bytes.push_back(bits(v.dtype) / 8);
  }
  int count() const { return static_cast<int>(views.size()); }
  std::vector<DType> types(int first, int last) const;
};

/// A program over the rows of an index space.
/// operands: outputs, then inputs, broadcast to `space`; in_row[d]: dim d belongs to the row.
class RowSpace {
 public:
  static constexpr int kMaxOperands = 64;
  RowSpace(const View& space, const Operands& operands, const std::array<bool, kMaxRank>& in_row, int64_t tile = TileProgram::kTile);

  int64_t rows() const { return rows_; }
  int64_t length() const { return length_; }
  const NestTiles& tiles() const { return tiles_; }
  /// Addresses of the operands at the start of row `number`.
  void locate(int64_t number, void* const* pointers, const void** data) const;
  /// Whether a row lies along one dim, so that several rows are one patch.
  bool flat() const { return tiles_.nest().rank == 2 && tiles_.nest().shape[0] == 1; }
  /// How many rows from `number` on, at most `limit`, have a constant distance.
  int64_t group(int64_t number, int64_t limit) const {
    const int64_t size = outer_.shape[outer_.rank - 1];
    return std::min(limit, size - number % size);
  }
  /// Rows of operand k from `data` on, of a flat row.
  Patch rows_patch(int k, const void* data) const { return {data, outer_.strides[k][outer_.rank - 1], tiles_.nest().strides[k][tiles_.nest().rank - 1]}; }
  /// Patches of the operands for a tile of the row.
  void patches(const NestTile& tile, const void* const* data, Patch* out) const {
    for (size_t k = 0; k < bytes_.size(); ++k) out[k] = tiles_.patch(static_cast<int>(k), tile, data[k], bytes_[k]);
  }

 private:
  LoopNest outer_;
  NestTiles tiles_;
  std::vector<int> slots_;
  std::vector<int64_t> bytes_;
  int64_t rows_, length_;
};

}  // namespace tuyere::cpu
