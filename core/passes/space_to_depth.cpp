// SPDX-License-Identifier: Apache-2.0
// conv(x, w, stride s) => conv(blocks(x), blocks(w))        the image in blocks of s x s pixels, which are channels; x of a few channels (an image), w constant
//   blocks(x) = reshape(permute(pad(reshape(x, [N, C, H/s, s, W/s, s]))))   channels of a block: (row, column, channel), channels filled up, borders included
// Tensor cores read channels in chunks, of which an image has too few: a 7x7 kernel of stride 2 over 3 channels becomes a 4x4 kernel of stride 1 over 16, which
// any kernel for ordinary convolutions takes; one whose kernel is its stride (patches) becomes 1x1, a matrix product. The copy to blocks is one kernel: the
// padding, of a window, written in the order of channels-last memory; nothing but a copy where there is nothing to fill up. The weight is rearranged at build.
// See tests/unit/passes/space_to_depth.cpp
#include <algorithm>
#include <map>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// One spatial dim: pixels of `size` (those of the image that count), in blocks of `block`.
struct Side {
  int64_t size = 0, block = 1;
  int64_t before = 0, after = 0;  // blocks of zeros around the image; a negative `after` crops
  int64_t front = 0, kernel = 1;  // zeros in front of the kernel, its size in blocks
};

std::optional<Side> plan_side(int64_t size, int64_t kernel, int64_t stride, int64_t pad_before, int64_t pad_after) {
  const int64_t results = (size + pad_before + pad_after - kernel) / stride + 1;
  if (stride < 2 || kernel < stride || pad_before < 0 || pad_after < 0 || size + pad_before + pad_after < kernel) return std::nullopt;
  Side side{.size = size, .block = stride};
  side.front = round_up(pad_before, stride) - pad_before;
  side.before = (pad_before + side.front) / stride;
  side.kernel = round_up(side.front + kernel, stride) / stride;
  if (size % stride != 0) side.size = round_up((results - 1) * stride + kernel - pad_before, stride);  // pixels that no window reads may be cut off
  if (side.size > size) return std::nullopt;
  side.after = results - 1 + side.kernel - side.before - side.size / stride;
  return side;
}

struct Blocks {
  Side height, width;
  int64_t channels = 0;  // of a pixel, filled up
  bool pads() const { return height.before != 0 || height.after != 0 || width.before != 0 || width.after != 0; }
  bool operator<(const Blocks& other) const { return key() < other.key(); }

 private:
  std::vector<int64_t> key() const {
    std::vector<int64_t> key = {channels};
    for (const Side* s : {&height, &width}) key.insert(key.end(), {s->size, s->block, s->before, s->after});
    return key;
  }
};

std::optional<Blocks> plan_blocks(const Network& net, const Layer& layer, const std::vector<bool>& constant, int body) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || conv->transposed || conv->groups != 1 || !constant[layer.inputs[1]] || constant[layer.inputs[0]]) return std::nullopt;
  const TensorType &x = net.type(layer.inputs[0], body), &w = net.type(layer.inputs[1], body);
  if (x.shape.size() != 4 || x.dtype != w.dtype || (x.dtype != DType::F16 && x.dtype != DType::BF16)) return std::nullopt;
  const bool sizes_known =
      std::all_of(w.shape.begin(), w.shape.end(), [](const Dim& d) { return d.is_const(); }) && x.shape[2].is_const() && x.shape[3].is_const();
  const bool dilated = std::any_of(conv->dilation.begin(), conv->dilation.end(), [](int64_t d) { return d != 1; });
  if (!sizes_known || dilated || w.shape[1].value() > kFewChannels || w.shape[0].value() < kManyOutputs) return std::nullopt;
  std::optional<Side> side[2];
  for (size_t d = 0; d < 2; ++d) {
    side[d] = plan_side(x.shape[d + 2].value(), w.shape[d + 2].value(), conv->stride[d], conv->pad_before[d], conv->pad_after[d]);
    if (!side[d]) return std::nullopt;
  }
  Blocks blocks{*side[0], *side[1], w.shape[1].value()};
  const int64_t pixels = blocks.height.block * blocks.width.block, windows = blocks.height.kernel * blocks.width.kernel;
  while (pixels * blocks.channels % (windows == 1 ? 8 : 16) != 0) ++blocks.channels;
  // More products than that are not worth it: the other form fills its channels up to four.
  const int64_t now = w.shape[2].value() * w.shape[3].value() * kFewChannels;
  if (windows * pixels * blocks.channels * 2 > now * 5) return std::nullopt;
  return blocks;
}

class SpaceToDepth {
 public:
  SpaceToDepth(Network& net, int body) : net_(net), body_(body), constant_(constant_tensors(net.bodies[body])) {}

  bool run() {
    bool changed = false;
    for (LayerId id : live(net_, body_)) {
      const Layer layer = net_.bodies[body_].layers[id];  // by value: adding layers moves the vector
      const auto blocks = plan_blocks(net_, layer, constant_, body_);
      if (!blocks) continue;
      auto [it, fresh] = images_.try_emplace({layer.inputs[0], *blocks}, kNone);
      if (fresh) it->second = image(layer, *blocks);
      const TensorId w = weight(layer, *blocks, by_channel(layer.inputs[0], *blocks));
      auto& conv = std::get<Conv>(net_.bodies[body_].layers[id].op);
      conv.stride = {1, 1};
      conv.pad_before = conv.pad_after = {0, 0};
      net_.set_input(id, 0, it->second, body_);
      net_.set_input(id, 1, w, body_);
      changed = true;
    }
    if (changed) net_.sort(body_);
    return changed;
  }

 private:
  template <class S>
  TensorId add(const Layer& layer, S op, TensorId input) {
    return net_.add1(std::move(op), {input}, layer.origins, body_);
  }

  /// Whether the channels of a block are (channel, row, column), as a row-major image has them side by side; otherwise (row, column, channel).
  bool by_channel(TensorId x, const Blocks& blocks) const {
    const Shape& shape = net_.type(x, body_).shape;
    return !blocks.pads() && shape[1].is_const(blocks.channels) && !same_order(shape, memory_order(net_, x, body_), Layout::channels_last(4).order);
  }

  TensorId image(const Layer& layer, const Blocks& blocks) {
    TensorId x = layer.inputs[0];
    const bool channel_first = by_channel(x, blocks);
    const Side &h = blocks.height, &w = blocks.width;
    for (int64_t axis : {2, 3}) {
      const Side& side = axis == 2 ? h : w;
      if (!net_.type(x, body_).shape[axis].is_const(side.size)) x = add(layer, Slice{.axis = axis, .start = 0, .end = side.size}, x);
    }
    const Shape shape = net_.type(x, body_).shape;
    const int64_t fill = blocks.channels - shape[1].value();
    x = add(layer, Reshape{{shape[0], shape[1], h.size / h.block, h.block, w.size / w.block, w.block}}, x);
    if (blocks.pads() || fill != 0)
      x = add(layer, Pad{.before = {0, 0, h.before, 0, w.before, 0}, .after = {0, fill, h.after, 0, w.after, 0}}, x);
    else
      x = identity(net_, x, layer.origins, body_);
    net_.bodies[body_].tensors[x].type.layout.order = channel_first ? std::vector<int>{0, 2, 4, 1, 3, 5} : std::vector<int>{0, 2, 4, 3, 5, 1};
    return join_channels(layer, x, channel_first);
  }

  TensorId weight(const Layer& layer, const Blocks& blocks, bool channel_first) {
    TensorId x = layer.inputs[1];
    const Shape shape = net_.type(x, body_).shape;
    const Side &h = blocks.height, &w = blocks.width;
    const int64_t rows = h.kernel * h.block, columns = w.kernel * w.block;
    Pad pad{.before = {0, 0, h.front, w.front},
            .after = {0, blocks.channels - shape[1].value(), rows - h.front - shape[2].value(), columns - w.front - shape[3].value()}};
    const auto zero = [](int64_t n) { return n == 0; };
    if (!std::all_of(pad.before.begin(), pad.before.end(), zero) || !std::all_of(pad.after.begin(), pad.after.end(), zero)) x = add(layer, std::move(pad), x);
    x = add(layer, Reshape{{shape[0], blocks.channels, h.kernel, h.block, w.kernel, w.block}}, x);
    return join_channels(layer, x, channel_first);
  }

  /// [N, C, blocks, rows, blocks, columns] as [N, channels of a block, blocks, blocks].
  TensorId join_channels(const Layer& layer, TensorId x, bool channel_first) {
    const Shape shape = net_.type(x, body_).shape;
    x = add(layer, Permute{channel_first ? std::vector<int64_t>{0, 1, 3, 5, 2, 4} : std::vector<int64_t>{0, 3, 5, 1, 2, 4}}, x);
    return add(layer, Reshape{{shape[0], shape[1] * shape[3] * shape[5], shape[2], shape[4]}}, x);
  }

  Network& net_;
  int body_;
  std::vector<bool> constant_;
  std::map<std::pair<TensorId, Blocks>, TensorId> images_;
};

}  // namespace

bool space_to_depth(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= SpaceToDepth(net, body).run();
  return changed;
}

}  // namespace tuyere
