// SPDX-License-Identifier: Apache-2.0
// On the CPU, over f32 channels in blocks and bf16 images that lie channels-last:
//   conv(conv(x, w, a...) epilogue={f}, v, b...) epilogue={g}  =>  expanded_depthwise(x, w, v, a..., b...) expansion={f} epilogue={g}
// where w is of one pixel and moves by one, v is depthwise and alone reads the image between them, and that image is large: it then need not go through
// memory. Kernels that make it after all race with those that keep parts of it in the cache. Runs after `block_channels`. See
// tests/unit/passes/fuse_expansions.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"
#include "kernels/api/conv_blocks.h"

namespace tuyere {
namespace {

constexpr double kLeastValues = 160 << 10;  // of the expanded image, at the hint sizes: smaller ones stay in the second cache

bool all_are(const std::vector<int64_t>& list, int64_t value) {
  return std::all_of(list.begin(), list.end(), [&](int64_t v) { return v == value; });
}

class ExpansionFuser {
 public:
  ExpansionFuser(Network& net, int body, const PassContext& context) : net_(net), body_(body), hints_(context.hints) {}

  bool run() {
    net_.sort(body_);
    constant_ = constant_tensors(net_.bodies[body_]);
    bool changed = false;
    for (LayerId id : live(net_, body_)) changed |= fuse(id);
    return changed;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  bool is_channels_last(TensorId id) const { return same_order(shape(id), memory_order(net_, id, body_), Layout::channels_last(4).order); }

  /// The convolution of a layer over images in f32 blocks or in bf16, two spatial dims, with a constant weight.
  const Conv* blocked_conv(const Layer& layer) const {
    const auto* conv = std::get_if<Conv>(&layer.op);
    if (!conv || layer.dead || conv->transposed || conv->stride.size() != 2) return nullptr;
    const TensorId x = layer.inputs[0], w = layer.inputs[1];
    const DType type = net_.type(x, body_).dtype;
    if (conv_spatial(*conv, shape(w).size()) != 2 || conv->type != type || !constant_[w]) return nullptr;
    const bool blocks = in_blocks(shape(w).size(), 2) && in_blocks(shape(x).size(), 2);
    const bool plain = shape(w).size() == 4 && shape(x).size() == 4;
    const bool takes = type == DType::F32 ? blocks : type == DType::BF16 && plain && is_channels_last(x) && is_channels_last(layer.outputs[0]);
    return takes ? conv : nullptr;
  }

  bool expands(const Layer& layer) const {
    const Conv* conv = blocked_conv(layer);
    if (!conv || conv->groups != 1) return false;
    const Shape& w = shape(layer.inputs[1]);
    return w[2].is_const(1) && w[3].is_const(1) && all_are(conv->stride, 1) && all_are(conv->pad_before, 0) && all_are(conv->pad_after, 0);
  }

  bool is_depthwise(const Layer& layer) const {
    const Conv* conv = blocked_conv(layer);
    if (!conv) return false;
    const Shape &x = shape(layer.inputs[0]), &v = shape(layer.inputs[1]);
    const auto no_crop = [](const std::vector<int64_t>& pads) { return std::all_of(pads.begin(), pads.end(), [](int64_t pad) { return pad >= 0; }); };
    const Dim block = v.size() == 5 ? v[4] : Dim(1);
    return v[0].is_const() && block.is_const() && x[1] == v[0] && (x.size() == 4 || x[4] == block) && (v[0] * block).is_const(conv->groups) &&
           no_crop(conv->pad_before) && no_crop(conv->pad_after) && all_are(conv->dilation, 1);
  }

  /// A symbol without a hint counts as 1.
  bool is_large(TensorId image) const {
    double values = 1;
    for (const Dim& dim : shape(image)) {
      int64_t value = 1;
      if (dim.try_eval(hints_, &value)) values *= static_cast<double>(value);
    }
    return values >= kLeastValues;
  }

  /// `id`: the depthwise convolution.
  bool fuse(LayerId id) {
    const Layer window = net_.bodies[body_].layers[id];  // by value: adding layers moves the vector
    if (window.inputs.empty() || !is_depthwise(window)) return false;
    const TensorId image = window.inputs[0];
    const LayerId other = net_.tensor(image, body_).producer;
    if (other == kNone || sole_consumer(net_, image, body_) != id || !is_large(image)) return false;
    if (std::count(window.inputs.begin(), window.inputs.end(), image) != 1) return false;
    const Layer expansion = net_.bodies[body_].layers[other];
    if (!expands(expansion)) return false;
    const auto &first = std::get<Conv>(expansion.op), &second = std::get<Conv>(window.op);
    const ExpandedDepthwise op{.stride = second.stride,
                               .pad_before = second.pad_before,
                               .pad_after = second.pad_after,
                               .dilation = second.dilation,
                               .type = second.type,
                               .expansion = first.epilogue,
                               .epilogue = second.epilogue};
    std::vector<TensorId> inputs{expansion.inputs[0], expansion.inputs[1], window.inputs[1]};
    inputs.insert(inputs.end(), expansion.inputs.begin() + 2, expansion.inputs.end());
    inputs.insert(inputs.end(), window.inputs.begin() + 2, window.inputs.end());
    Origins origins = window.origins;
    origins.insert(expansion.origins.begin(), expansion.origins.end());
    const TensorId fused = net_.add1(op, std::move(inputs), std::move(origins), body_);
    net_.bodies[body_].tensors[fused].type.layout = net_.type(window.outputs[0], body_).layout;
    net_.replace(window.outputs[0], fused, body_);
    net_.erase(id, body_);
    net_.erase(other, body_);
    return true;
  }

  Network& net_;
  int body_;
  const Symbols& hints_;
  std::vector<bool> constant_;
};

}  // namespace

bool fuse_expansions(Network& net, const PassContext& context) {
  if (context.target.is_cuda() || !context.own_kernels) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= ExpansionFuser(net, body, context).run();
  return changed;
}

}  // namespace tuyere
