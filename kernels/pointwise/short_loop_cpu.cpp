// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/short_loop.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise/short_loop_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

/// An operand: its vector of columns from `column` on, of one row after the other. T: uint16_t for bf16, or float.
template <class T>
struct ShortRows {
  const Patch& patch;
  int64_t column, count;  // columns: a vector of them, or fewer

  HWY_INLINE hn::Vec<Df> load(int64_t row) const {
    const Df d;
    const T* at = static_cast<const T*>(patch.data) + row * patch.row_stride + column * patch.col_stride;
    const bool whole = count == static_cast<int64_t>(hn::Lanes(d));
    if constexpr (sizeof(T) == sizeof(float)) {
      if (patch.col_stride == 0) return hn::Set(d, *at);
      return whole ? hn::LoadU(d, at) : load_tail(d, at, count, 0.0f);
    } else {
      if (patch.col_stride == 0) return hn::Set(d, bf16_to_f32(*at));
      return whole ? load_short(d, at) : load_short_tail(d, at, count);
    }
  }
};

template <bool kNative>
HWY_INLINE void store_columns(hn::Vec<Df> v, const Patch& out, int64_t row, int64_t column, int64_t count) {
  uint16_t* to = static_cast<uint16_t*>(const_cast<void*>(out.data)) + row * out.row_stride + column;
  if (count == static_cast<int64_t>(hn::Lanes(Df()))) {
    store_rounded<kNative>(v, to);
  } else {
    store_rounded_tail<kNative>(v, to, count);
  }
}

/// Columns in vectors, and down their rows: a factor for every channel is read once.
template <bool kNative, class F>
HWY_INLINE void pair_columns(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols, F f) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Df()));
  for (int64_t c = 0; c < cols; c += lanes) {
    const int64_t count = HWY_MIN(lanes, cols - c);
    const ShortRows<uint16_t> left{in[0], c, count}, right{in[1], c, count};
    auto x = left.load(0), y = right.load(0);
    for (int64_t r = 0; r < rows; ++r) {
      if (in[0].row_stride != 0) x = left.load(r);
      if (in[1].row_stride != 0) y = right.load(r);
      store_columns<kNative>(f(x, y), out, r, c, count);
    }
  }
}

template <bool kNative>
void pair_add(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(in, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Add(x, y); });
}
template <bool kNative>
void pair_sub(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(in, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Sub(x, y); });
}
template <bool kNative>
void pair_mul(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols) {
  pair_columns<kNative>(in, out, rows, cols, [](auto x, auto y) HWY_ATTR { return hn::Mul(x, y); });
}

/// x * scale + shift; kRelu: not below zero, and NaN stays NaN.
template <bool kNative, bool kRelu>
void affine(const ShortOperands& in, const Patch& out, int64_t rows, int64_t cols) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < cols; c += lanes) {
    const int64_t count = HWY_MIN(lanes, cols - c);
    const ShortRows<uint16_t> x{in[0], c, count};
    const ShortRows<float> scale{in[1], c, count}, shift{in[2], c, count};
    auto k = scale.load(0), add = shift.load(0);
    for (int64_t r = 0; r < rows; ++r) {
      if (in[1].row_stride != 0) k = scale.load(r);
      if (in[2].row_stride != 0) add = shift.load(r);
      auto y = hn::MulAdd(x.load(r), k, add);
      if constexpr (kRelu) y = hn::IfThenZeroElse(hn::Lt(y, hn::Zero(d)), y);
      store_columns<kNative>(y, out, r, c, count);
    }
  }
}

ShortFn pair_function(Fn fn) {
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
ShortFn affine_function(bool relu) {
  if (rounds_natively()) return relu ? affine<true, true> : affine<true, false>;
  return relu ? affine<false, true> : affine<false, false>;
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(pair_function);
HWY_EXPORT(affine_function);

namespace {

struct ShortProgram {
  ShortFn fn;
  std::vector<int> in;  // the program's inputs, in the function's order
};

/// One function of two bf16 tensors.
std::optional<ShortProgram> as_pair(const Program& program, const std::vector<View>& operands) {
  const bool shorts = std::all_of(operands.begin(), operands.end(), [](const View& v) { return v.dtype == DType::BF16; });
  if (!shorts || program.body.size() != 1) return std::nullopt;
  const Inst& inst = program.body[0];
  const ShortFn fn = HWY_DYNAMIC_DISPATCH(pair_function)(inst.fn);
  if (!fn) return std::nullopt;
  return ShortProgram{fn, {inst.args[0], inst.args[1]}};
}

/// relu(x * scale + shift), or without the relu, of three inputs: x of bf16, the others of f32.
std::optional<ShortProgram> as_affine(const Program& program, const std::vector<View>& operands) {
  const auto inputs = static_cast<int16_t>(program.inputs.size());
  const size_t count = program.body.size();
  if (inputs != 3 || (count != 2 && count != 3) || program.body[0].fn != Fn::mul || program.body[1].fn != Fn::add) return std::nullopt;
  if (count == 3 && (program.body[2].fn != Fn::relu || program.body[2].args[0] != inputs + 1)) return std::nullopt;
  std::array<int16_t, 2> factors{program.body[0].args[0], program.body[0].args[1]}, terms{program.body[1].args[0], program.body[1].args[1]};
  const auto type = [&](int16_t input) { return operands[static_cast<size_t>(1 + input)].dtype; };
  if (terms[0] != inputs) std::swap(terms[0], terms[1]);
  if (terms[0] != inputs || terms[1] >= inputs || factors[0] == factors[1]) return std::nullopt;
  if (type(factors[0]) != DType::BF16) std::swap(factors[0], factors[1]);
  const bool fits = operands[0].dtype == DType::BF16 && type(factors[0]) == DType::BF16 && type(factors[1]) == DType::F32 && type(terms[1]) == DType::F32;
  if (!fits) return std::nullopt;
  return ShortProgram{HWY_DYNAMIC_DISPATCH(affine_function)(count == 3), {factors[0], factors[1], terms[1]}};
}

}  // namespace

ShortFn short_affine() { return HWY_DYNAMIC_DISPATCH(affine_function)(false); }

std::optional<ShortLoop> ShortLoop::of(const Program& program, const View& space, const std::vector<View>& operands) {
  const auto last = static_cast<int16_t>(program.inputs.size() + program.body.size() - 1);
  if (program.body.empty() || program.outputs.size() != 1 || program.outputs[0] != last) return std::nullopt;
  const bool floats = std::all_of(program.inputs.begin(), program.inputs.end(), [](DType type) { return type == DType::F32; });
  auto found = as_pair(program, operands);
  if (!found) found = as_affine(program, operands);
  if (!found || !floats) return std::nullopt;
  constexpr int64_t kTileValues = 4096;  // two operands of so many stay in the first cache
  NestTiles tiles(nest_of(space, operands), kTileValues);
  const LoopNest& nest = tiles.nest();
  const auto step = [&](int operand) { return nest.strides[static_cast<size_t>(operand)][nest.rank - 1]; };
  for (int& input : found->in) {
    ++input;  // operand 0 is the output
    if (step(input) != 0 && step(input) != 1) return std::nullopt;
  }
  if (step(0) != 1) return std::nullopt;
  return ShortLoop(found->fn, std::move(tiles), std::move(found->in), operands);
}

ShortLoop::ShortLoop(ShortFn fn, NestTiles tiles, std::vector<int> in, const std::vector<View>& operands)
    : fn_(fn), tiles_(std::move(tiles)), in_(std::move(in)), threads_(threads_for(tiles_.nest().numel())) {
  for (const View& view : operands) bytes_.push_back(bits(view.dtype) / 8);
}

void ShortLoop::run(void* const* data) const {
  parallel_ranges(threads_, tiles_.count(), [&](int, int64_t begin, int64_t end) {
    Odometer at = tiles_.start(begin);
    for (int64_t number = begin; number < end; ++number, at.next()) {
      const NestTile tile = tiles_.tile(at);
      const auto patch = [&](int operand) { return tiles_.patch(operand, tile, data[operand], bytes_[static_cast<size_t>(operand)]); };
      ShortOperands operands;
      for (size_t k = 0; k < in_.size(); ++k) operands[k] = patch(in_[k]);
      fn_(operands, patch(0), tile.rows, tile.cols);
    }
  });
}

}  // namespace tuyere::cpu
#endif
