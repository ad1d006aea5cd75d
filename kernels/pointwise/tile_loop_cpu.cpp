// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/tile_loop.h"

#include <cstdlib>

#include "kernels/cpu/parallel.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kTransposeRows = 16, kTransposeCols = 32;

LoopNest nest_of(const View& space, const std::vector<View>& operands) {
  std::vector<Ix> strides;
  for (const View& v : operands) strides.push_back(v.strides);
  LoopNest nest = make_nest(space.rank, space.shape, strides);
  if (nest.rank == 1) {  // always two dims, so that tiles have rows and columns
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

// When an operand is scattered along the inner dim but dense along another one, that one becomes the second innermost: tiles then
// use whole cache lines on both sides. Returns whether there is such an operand.
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

TileLoop::TileLoop(TileProgram program, const View& space, const std::vector<View>& operands, int outputs, int64_t cost)
    : program_(std::move(program)), nest_(nest_of(space, operands)), outputs_(outputs),
      threads_(threads_for(nest_.numel() * std::max<int64_t>(2, cost) / 2)), scratch_(program_, threads_) {
  INTERNAL_CHECK(operands.size() <= kMaxOperands, "a pointwise step of " << operands.size() << " operands");
  for (const View& v : operands) bytes_.push_back(bits(v.dtype) / 8);
  const int inner = nest_.rank - 1;
  const bool transposed = pair_transposed_dims(nest_);
  cols_ = std::clamp<int64_t>(nest_.shape[inner], 1, transposed ? kTransposeCols : TileProgram::kTile);
  rows_ = std::clamp<int64_t>(nest_.shape[inner - 1], 1, transposed ? std::max(kTransposeRows, TileProgram::kTile / 2 / cols_) : TileProgram::kTile / cols_);
  blocks_.rank = nest_.rank;
  blocks_.shape = nest_.shape;
  blocks_.shape[inner] = blocks(nest_.shape[inner], cols_);
  blocks_.shape[inner - 1] = blocks(nest_.shape[inner - 1], rows_);
  tiles_ = nest_.numel() == 0 ? 0 : product(blocks_.rank, blocks_.shape);
}

void TileLoop::run(void* const* data) const {
  parallel_ranges(threads_, tiles_, [&](int thread, int64_t begin, int64_t end) { run_tiles(data, thread, begin, end); });
}

void TileLoop::run_tiles(void* const* data, int thread, int64_t begin, int64_t end) const {
  const int inner = nest_.rank - 1, count = static_cast<int>(bytes_.size());
  std::array<Patch, kMaxOperands> patches;
  Odometer at = blocks_;
  at.seek(begin);
  for (int64_t tile = begin; tile < end; ++tile, at.next()) {
    Ix index = at.index;
    index[inner] *= cols_;
    index[inner - 1] *= rows_;
    for (int k = 0; k < count; ++k) {
      const Ix& s = nest_.strides[k];
      int64_t offset = 0;
      for (int d = 0; d <= inner; ++d) offset += index[d] * s[d];
      patches[k] = {static_cast<char*>(data[k]) + offset * bytes_[k], s[inner - 1], s[inner]};
    }
    const int64_t rows = std::min(rows_, nest_.shape[inner - 1] - index[inner - 1]), cols = std::min(cols_, nest_.shape[inner] - index[inner]);
    program_.run(patches.data() + outputs_, patches.data(), rows, cols, scratch_.of(thread));
  }
}

}  // namespace tuyere::cpu
