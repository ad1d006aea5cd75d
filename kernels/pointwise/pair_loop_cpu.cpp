// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/pair_loop.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise/pair_loop_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

/// An operand of a pair: its vector of columns from `column` on, of one row after the other.
struct ShortRows {
  const Patch& patch;
  int64_t column, count;  // columns: a vector of them, or fewer

  HWY_INLINE hn::Vec<Df> load(int64_t row) const {
    const Df d;
    const uint16_t* at = static_cast<const uint16_t*>(patch.data) + row * patch.row_stride + column * patch.col_stride;
    if (patch.col_stride == 0) return hn::Set(d, bf16_to_f32(*at));
    return count == static_cast<int64_t>(hn::Lanes(d)) ? load_short(d, at) : load_short_tail(d, at, count);
  }
};

/// Columns in vectors, and down their rows: a factor for every channel is read once.
template <bool kNative, class F>
HWY_INLINE void pair_columns(const Patch& a, const Patch& b, const Patch& out, int64_t rows, int64_t cols, F f) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < cols; c += lanes) {
    const int64_t count = HWY_MIN(lanes, cols - c);
    const ShortRows left{a, c, count}, right{b, c, count};
    auto x = left.load(0), y = right.load(0);
    for (int64_t r = 0; r < rows; ++r) {
      if (a.row_stride != 0) x = left.load(r);
      if (b.row_stride != 0) y = right.load(r);
      uint16_t* to = static_cast<uint16_t*>(const_cast<void*>(out.data)) + r * out.row_stride + c;
      if (count == lanes) {
        store_rounded<kNative>(f(x, y), to);
      } else {
        store_rounded_tail<kNative>(f(x, y), to, count);
      }
    }
  }
}

template <bool kNative>
void pair_add(const Patch& a, const Patch& b, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(a, b, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Add(x, y); });
}
template <bool kNative>
void pair_sub(const Patch& a, const Patch& b, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(a, b, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Sub(x, y); });
}
template <bool kNative>
void pair_mul(const Patch& a, const Patch& b, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(a, b, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Mul(x, y); });
}

PairFn pair_function(Fn fn) {
  const bool native = rounds_natively();
  switch (fn) {
    case Fn::add:
      return native ? pair_add<true> : pair_add<false>;
    case Fn::sub:
      return native ? pair_sub<true> : pair_sub<false>;
    case Fn::mul:
      return native ? pair_mul<true> : pair_mul<false>;
    default:
      return nullptr;
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(pair_function);

std::optional<PairLoop> PairLoop::of(const Program& program, const View& space, const std::vector<View>& operands) {
  const bool shorts = std::all_of(operands.begin(), operands.end(), [](const View& v) { return v.dtype == DType::BF16; });
  if (!shorts || program.body.size() != 1 || program.outputs.size() != 1 || program.outputs[0] != static_cast<int16_t>(program.inputs.size()))
    return std::nullopt;
  const Inst& inst = program.body[0];
  const PairFn fn = HWY_DYNAMIC_DISPATCH(pair_function)(inst.fn);
  if (!fn || program.type_of(inst.args[0]) != DType::F32 || program.type_of(inst.args[1]) != DType::F32) return std::nullopt;
  constexpr int64_t kTileValues = 4096;  // two operands of so many stay in the first cache
  NestTiles tiles(nest_of(space, operands), kTileValues);
  const LoopNest& nest = tiles.nest();
  const auto step = [&](int operand) { return nest.strides[static_cast<size_t>(operand)][nest.rank - 1]; };
  const int a = 1 + inst.args[0], b = 1 + inst.args[1];
  const auto reads = [&](int operand) { return step(operand) == 0 || step(operand) == 1; };
  if (step(0) != 1 || !reads(a) || !reads(b)) return std::nullopt;
  return PairLoop(fn, std::move(tiles), a, b);
}

PairLoop::PairLoop(PairFn fn, NestTiles tiles, int a, int b) : fn_(fn), tiles_(std::move(tiles)), a_(a), b_(b), threads_(threads_for(tiles_.nest().numel())) {}

void PairLoop::run(void* const* data) const {
  parallel_ranges(threads_, tiles_.count(), [&](int, int64_t begin, int64_t end) {
    Odometer at = tiles_.start(begin);
    for (int64_t number = begin; number < end; ++number, at.next()) {
      const NestTile tile = tiles_.tile(at);
      const auto patch = [&](int operand) { return tiles_.patch(operand, tile, data[operand], sizeof(uint16_t)); };
      fn_(patch(a_), patch(b_), patch(0), tile.rows, tile.cols);
    }
  });
}

}  // namespace tuyere::cpu
#endif
