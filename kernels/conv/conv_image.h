// SPDX-License-Identifier: Apache-2.0
// Images, windows and weights of a convolution as own.conv.direct sees them: three spatial dims, channels in blocks or not.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "kernels/api/conv_blocks.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"

namespace tuyere::cpu {

constexpr int kSpace = 3;
using Space = std::array<int64_t, kSpace>;

/// An image with its spatial dims brought to three: where channel c of a pixel lies.
struct Image {
  DType dtype = DType::F32;
  int64_t batch = 0, block = 1, blocks = 0, channel = 0;  // strides of an image, a block and a channel; channels of a block
  Space size{1, 1, 1}, space{};
  int64_t channels = 0, count = 1;  // of an image; images

  Image(const View& v, int spatial) : dtype(v.dtype), batch(v.strides[0]), blocks(v.strides[1]), count(v.shape[0]) {
    const bool in_block = in_blocks(static_cast<size_t>(v.rank), static_cast<size_t>(spatial));
    block = in_block ? v.shape[v.rank - 1] : v.shape[1];
    channel = in_block ? v.strides[v.rank - 1] : v.strides[1];
    if (!in_block) blocks = 0;
    channels = in_block ? v.shape[1] * block : block;
    if (block == 1) channel = 1;
    for (int d = 0; d < spatial; ++d) {
      size[static_cast<size_t>(kSpace - spatial + d)] = v.shape[2 + d];
      space[static_cast<size_t>(kSpace - spatial + d)] = v.strides[2 + d];
    }
  }
  int64_t at(int64_t n, int64_t c) const { return n * batch + c / block * blocks + c % block * channel; }
  int64_t pixel(const Space& p) const { return p[0] * space[0] + p[1] * space[1] + p[2] * space[2]; }
  /// Whether dims d and d+1 can be walked as one.
  bool joins(size_t d) const { return size[d] == 1 || space[d] == space[d + 1] * size[d + 1]; }
  void join(size_t d) {
    size[d + 1] *= size[d];
    size[d] = 1;
  }
};

struct Window {
  Space kernel{1, 1, 1}, stride{1, 1, 1}, before{}, dilation{1, 1, 1};

  /// Of a convolution whose lists are complete, and its weight.
  Window(const Conv& op, const View& w) {
    const auto spatial = op.stride.size();
    for (size_t d = 0; d < spatial; ++d) {
      const size_t to = kSpace - spatial + d;
      kernel[to] = w.shape[2 + d];
      stride[to] = op.stride[d];
      before[to] = op.pad_before[d];
      dilation[to] = op.dilation[d];
    }
  }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  bool moves(size_t d) const { return kernel[d] != 1 || stride[d] != 1 || before[d] != 0; }
};

/// The weight where it lies: plain, or with rows in blocks.
class Weights {
 public:
  Weights(const CpuProblem& p, int spatial, size_t input = 1) : view_(p.args.in[input]), data_(p.args.constants[input]) {
    const bool in_block = in_blocks(static_cast<size_t>(view_.rank), static_cast<size_t>(spatial));
    block_ = in_block ? view_.shape[view_.rank - 1] : 1;
    row_ = in_block ? view_.strides[view_.rank - 1] : 0;
    View taps = view_;
    taps.shape[0] = taps.shape[1] = 1;
    if (in_block) taps.shape[view_.rank - 1] = 1;
    for_each_index(taps.rank, taps.shape, [&](const Ix& at) { taps_.push_back(view_.offset(at)); });
  }
  float at(int64_t row, int64_t channel, size_t tap) const {
    const int64_t offset = row / block_ * view_.strides[0] + row % block_ * row_ + channel * view_.strides[1] + taps_[tap];
    return view_.dtype == DType::F32 ? static_cast<const float*>(data_)[offset] : static_cast<float>(load_as_double(view_.dtype, data_, offset));
  }
  size_t taps() const { return taps_.size(); }
  /// Of the channels of an image that is not grouped: those that fill up its last block have no weights, and need no work.
  int64_t used_channels(const Image& x, int64_t rows) const {
    const auto zero = [&](int64_t channel) {
      for (int64_t row = 0; row < rows; ++row) {
        for (size_t tap = 0; tap < taps(); ++tap) {
          if (at(row, channel, tap) != 0) return false;
        }
      }
      return true;
    };
    int64_t used = x.channels;
    while (x.channels > x.block && used > x.channels - x.block + 1 && zero(used - 1)) --used;
    return used;
  }
  std::string describe() const {
    std::string text(name(view_.dtype));
    for (int d = 0; d < view_.rank; ++d) text += "," + std::to_string(view_.shape[d]) + ":" + std::to_string(view_.strides[d]);
    return text;
  }

 private:
  View view_;
  const void* data_;
  int64_t block_, row_;
  std::vector<int64_t> taps_;
};

}  // namespace tuyere::cpu
