// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/tile_loop.h"

#include "kernels/cpu/parallel.h"

namespace tuyere::cpu {

TileLoop::TileLoop(TileProgram program, const View& space, const std::vector<View>& operands, int outputs, int64_t cost)
    : program_(std::move(program)),
      tiles_(nest_of(space, operands), TileProgram::kTile),
      outputs_(outputs),
      threads_(threads_for(space.numel() * std::max<int64_t>(2, cost) / 2)),
      scratch_(program_, threads_) {
  INTERNAL_CHECK(operands.size() <= kMaxOperands, "a pointwise step of " << operands.size() << " operands");
  for (const View& v : operands) bytes_.push_back(bits(v.dtype) / 8);
}

void TileLoop::run(void* const* data) const {
  parallel_ranges(threads_, tiles_.count(), [&](int thread, int64_t begin, int64_t end) { run_tiles(data, thread, begin, end); });
}

void TileLoop::run_tiles(void* const* data, int thread, int64_t begin, int64_t end) const {
  const int count = static_cast<int>(bytes_.size());
  std::array<Patch, kMaxOperands> patches;
  if (tiles_.flat()) {
    const LoopNest& nest = tiles_.nest();
    for (int k = 0; k < count; ++k) patches[k] = tiles_.patch(k, NestTile{{0, begin * tiles_.cols()}, 1, 0}, data[k], bytes_[k]);
    for (int64_t first = begin * tiles_.cols(), last = std::min(nest.shape[1], end * tiles_.cols()); first < last; first += tiles_.cols()) {
      program_.run(patches.data() + outputs_, patches.data(), 1, std::min(tiles_.cols(), last - first), scratch_.of(thread));
      for (int k = 0; k < count; ++k) patches[k].data = static_cast<const char*>(patches[k].data) + tiles_.cols() * patches[k].col_stride * bytes_[k];
    }
    return;
  }
  Odometer at = tiles_.start(begin);
  NestTile before;
  for (int64_t number = begin; number < end; ++number, at.next()) {
    const NestTile tile = tiles_.tile(at);
    // What repeats along the tiles, such as a factor for every channel, is loaded once.
    const bool same_size = tile.rows == before.rows && tile.cols == before.cols;
    uint64_t loaded = 0;
    for (int k = 0; k < count; ++k) {
      const Patch patch = tiles_.patch(k, tile, data[k], bytes_[k]);
      if (same_size && k >= outputs_ && patch.data == patches[k].data) loaded |= uint64_t{1} << (k - outputs_);
      patches[k] = patch;
    }
    program_.run(patches.data() + outputs_, patches.data(), tile.rows, tile.cols, scratch_.of(thread), loaded);
    before = tile;
  }
}

}  // namespace tuyere::cpu
