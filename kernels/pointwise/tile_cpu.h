// SPDX-License-Identifier: Apache-2.0
// Programs over L1-sized tiles: every instruction runs over up to kTile values before the next one starts.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/api/program.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/pointwise/tile_simd.h"

namespace tuyere::cpu {

/// A program compiled for tiles. Immutable; every thread brings its own scratch.
class TileProgram {
 public:
  static constexpr int64_t kTile = 1024;

  /// `in`, `out`: storage types of the operands. The empty program is the identity of one input.
  /// `out` may be shorter than the outputs: the rest is only seen through eval().
  TileProgram(const Program& program, const std::vector<DType>& in, const std::vector<DType>& out);

  int inputs() const { return static_cast<int>(loads_.size()); }
  /// Compute type of output k.
  DType result_type(int k) const { return output_types_[k]; }
  /// Bytes of scratch per thread, a multiple of 64; aligned to 64.
  size_t scratch_bytes() const { return scratch_bytes_; }
  /// Writes the constants; once per scratch.
  void init(std::byte* scratch) const;

  /// Loads, computes and stores a rows x cols tile (rows * cols <= kTile). Bit k of `loaded`: input k is that of the call before with this scratch.
  void run(const Patch* in, const Patch* out, int64_t rows, int64_t cols, std::byte* scratch, uint64_t loaded = 0) const;
  /// Loads and computes; results[k] points to the dense tile of output k, valid until the scratch is used again.
  void eval(const Patch* in, const void** results, int64_t rows, int64_t cols, std::byte* scratch) const;

 private:
  struct Code {
    TileFn fn = nullptr;
    ConvertFn convert = nullptr;
    int a = -1, b = -1, c = -1, out = -1;  // value numbers
  };
  struct Constant {
    int value;
    DType type;
    double number;
  };
  void compile(const Program& program);
  void compute(const Patch* in, const void** values, int64_t rows, int64_t cols, std::byte* scratch, void* last, uint64_t loaded = 0) const;

  std::vector<LoadFn> loads_;
  std::vector<bool> direct_;  // input k may be read in place when dense
  std::vector<StoreFn> stores_;
  bool direct_store_ = false;  // the last instruction may write output 0 in place when dense
  std::vector<Code> code_;
  std::vector<Constant> constants_;
  std::vector<int> slots_;  // value -> slot
  std::vector<int> outputs_;
  std::vector<DType> output_types_;
  size_t values_bytes_ = 0, scratch_bytes_ = 0;
};

/// Scratch of several threads, aligned, with the constants of `program` written.
class TileScratch {
 public:
  TileScratch(const TileProgram& program, int threads);
  std::byte* of(int thread) const { return base_ + stride_ * static_cast<size_t>(thread); }

 private:
  std::shared_ptr<std::byte[]> memory_;
  std::byte* base_ = nullptr;
  size_t stride_ = 0;
};

}  // namespace tuyere::cpu
