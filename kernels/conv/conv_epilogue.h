// SPDX-License-Identifier: Apache-2.0
// What follows the sums of a convolution, over some pixels and one vector of channels at a time.
#pragma once
#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/conv/conv_image.h"
#include "kernels/conv/conv_tiles.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {

/// Sums of neighbouring pixels: [vectors of channels][lines][pixels][lanes], with the floats from one vector or line to the next one.
struct ConvSums {
  const float* data;
  int64_t vector, line;
};

/// A function of a number, after a residual was added: none of it is the identity. Its bounds, of clamp.
struct SumsFunction {
  std::optional<Fn> fn;
  float low = 0, high = 0;
  int residual = -1;  // of the extras
};

/// The function as the inner loops know it.
inline std::optional<ConvEnd> conv_end(const SumsFunction& function) {
  if (!function.fn) return ConvEnd::none;
  switch (*function.fn) {
    case Fn::relu:
      return ConvEnd::relu;
    case Fn::clamp:
      return ConvEnd::clamp;
    case Fn::hardswish:
      return ConvEnd::hardswish;
    case Fn::silu:
      return ConvEnd::silu;
    default:
      return std::nullopt;
  }
}

/// The sums begin with the bias where the epilogue adds one; what is left of it runs over tiles.
class ConvEpilogue {
 public:
  /// extras: the program's inputs beyond input 0, from operand `first` on; the output is the operand behind them.
  ConvEpilogue(Program program, const Image& out, std::vector<Image> extras, int64_t lanes, int threads, size_t first = 2)
      : lanes_(lanes), out_(out), extras_(std::move(extras)), first_(first) {
    program = take_bias(std::move(program));
    std::vector<DType> in{DType::F32};
    for (size_t k : operands_) in.push_back(extras_[k].dtype);
    program_ = std::make_unique<TileProgram>(program, in, std::vector<DType>{out_.dtype});
    scratch_ = std::make_unique<TileScratch>(*program_, threads);
  }

  /// What the sums of some channels begin with, or null when they begin with zeros.
  const float* starts(void* const* ptr, int64_t channel, int64_t channels, float* to) const {
    if (bias_ < 0) return nullptr;
    const Image& bias = extras_[static_cast<size_t>(bias_)];
    for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<const float*>(ptr[first_ + static_cast<size_t>(bias_)])[bias.at(0, channel + c)];
    return to;
  }

  /// What becomes of the sums, where that is one function of them, or of them and a residual.
  const std::optional<SumsFunction>& function() const { return function_; }

  /// Writes `lines` lines of `width` pixels from pixel `at` of image n on, of the channels [channel, channel + channels).
  void run(void* const* ptr, int thread, int64_t n, Space at, int64_t lines, int64_t width, int64_t channel, int64_t channels, const ConvSums& sums) const {
    const auto dense = [](const Image& image) { return image.joins(1); };
    const bool joined = sums.line == width * lanes_ && width == out_.size[2] && dense(out_) && std::all_of(extras_.begin(), extras_.end(), dense);
    const int64_t runs = joined ? 1 : lines, length = joined ? lines * width : width, step = std::max<int64_t>(1, TileProgram::kTile / lanes_);
    for (int64_t c = 0; c < channels;) {
      const int64_t first = channel + c, count = std::min({channels - c, out_.block - first % out_.block, lanes_ - c % lanes_});
      for (int64_t run = 0; run < runs; ++run) {
        const float* from = sums.data + c / lanes_ * sums.vector + run * sums.line + c % lanes_;
        for (int64_t p = 0; p < length; p += step) {
          run_tile(ptr, thread, n, first, {at[0], at[1] + run, at[2]}, p, from + p * lanes_, std::min(step, length - p), count);
        }
      }
      c += count;
    }
  }

 private:
  Program take_bias(Program program) {
    std::vector<bool> is_bias{false};
    for (const Image& e : extras_) is_bias.push_back(e.dtype == DType::F32 && e.batch == 0 && e.space == Space{});
    const auto simple = program.empty() ? SimpleEpilogue{} : match_simple_epilogue(program, is_bias);
    if (simple && simple->act != Fn::where && !simple->residual_last)
      function_ = {simple->act, static_cast<float>(simple->act_alpha), static_cast<float>(simple->act_beta), simple->residual > 0 ? simple->residual - 1 : -1};
    if (!simple || simple->bias <= 0) {
      for (size_t k = 0; k < extras_.size(); ++k) operands_.push_back(k);
      return program;
    }
    bias_ = simple->bias - 1;
    Program rest{{DType::F32}, {}, {}};
    int value = 0;
    if (simple->residual > 0) {
      rest.inputs.push_back(DType::F32);
      operands_.push_back(static_cast<size_t>(simple->residual - 1));
      if (!simple->residual_last) value = rest.add(Fn::add, {0, 1});
    }
    if (simple->act == Fn::clamp) {
      const int low = rest.constant(simple->act_alpha, DType::F32), high = rest.constant(simple->act_beta, DType::F32);
      value = rest.add(Fn::clamp, {value, low, high});
    } else if (simple->act == Fn::where) {
      const int zero = rest.constant(0, DType::F32), slope = rest.constant(simple->act_alpha, DType::F32);
      value = rest.add(Fn::where, {rest.add(Fn::gt, {value, zero}), value, rest.add(Fn::mul, {value, slope})});
    } else if (simple->act) {
      value = rest.add(*simple->act, {value});
    }
    if (simple->residual_last) value = rest.add(Fn::add, {value, 1});
    rest.outputs = {static_cast<int16_t>(value)};
    return rest;
  }

  void run_tile(void* const* ptr, int thread, int64_t n, int64_t channel, const Space& at, int64_t p, const float* from, int64_t pixels,
                int64_t channels) const {
    std::array<Patch, TileLoop::kMaxOperands> in;
    in[0] = {from, lanes_, 1};
    for (size_t k = 0; k < operands_.size(); ++k) in[k + 1] = patch(extras_[operands_[k]], ptr[first_ + operands_[k]], n, channel, at, p);
    const Patch out = patch(out_, ptr[first_ + extras_.size()], n, channel, at, p);
    program_->run(in.data(), &out, pixels, channels, scratch_->of(thread));
  }

  static Patch patch(const Image& image, const void* data, int64_t n, int64_t channel, const Space& at, int64_t p) {
    const int64_t offset = image.at(n, channel) + image.pixel(at) + p * image.space[2];
    return {static_cast<const char*>(data) + offset * (bits(image.dtype) / 8), image.space[2], image.channel};
  }

  int64_t lanes_;
  Image out_;
  std::vector<Image> extras_;
  size_t first_;
  int bias_ = -1;  // of the extras
  std::optional<SumsFunction> function_;
  std::vector<size_t> operands_;  // extras that the rest of the epilogue reads
  std::unique_ptr<TileProgram> program_;
  std::unique_ptr<TileScratch> scratch_;
};

}  // namespace tuyere::cpu
