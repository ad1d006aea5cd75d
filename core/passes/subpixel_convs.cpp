// SPDX-License-Identifier: Apache-2.0
// transposed_conv(x, w, y..., stride k) => blocks of pixels(f(conv(x, w'), y...))     on a GPU; windows side by side, or of one pixel: w [C, O, k...], one
// group
//   w' = reshape(permute(w), [k...*O, C, 1...])          a product: every pixel of x gives the k x k pixels of its block
//   blocks of pixels: [N, k, k, O, H, W] in the order [N, H, k, W, k, O], which is an image whose channels are innermost
// Products have fast kernels of every source; of transposed convolutions only cuDNN has, and those finish by no formula. The epilogue is the layer that moves
// the pixels, which a fused bias and activation would need anyway. See tests/unit/passes/subpixel_convs.cpp
#include <numeric>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

class SubpixelConvs {
 public:
  SubpixelConvs(Network& net, int body) : net_(net), body_(body) {}

  bool run() {
    bool changed = false;
    for (LayerId id : live(net_, body_)) {
      const Layer layer = net_.bodies[body_].layers[id];  // by value: adding layers moves the vector
      if (!is_subpixel(net_, layer, body_) || !fits_epilogue(layer)) continue;
      const auto& conv = std::get<Conv>(layer.op);
      Conv product{.tf32 = conv.tf32, .type = net_.type(layer.inputs[0], body_).dtype};
      const size_t sides = conv.stride.size();
      product.stride = product.dilation = std::vector<int64_t>(sides, 1);
      product.pad_before = product.pad_after = std::vector<int64_t>(sides, 0);
      const TensorId y = net_.add1(std::move(product), {layer.inputs[0], weight(layer)}, layer.origins, body_);
      net_.replace(layer.outputs[0], image(layer, finish(layer, blocks(layer, y))), body_);
      net_.erase(id, body_);
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
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  bool fits_epilogue(const Layer& layer) const {
    const Shape& out = shape(layer.outputs[0]);
    return std::all_of(layer.inputs.begin() + 2, layer.inputs.end(),
                       [&](TensorId extra) { return shape(extra) == out || is_vector_along(shape(extra), static_cast<int>(out.size()), 1); });
  }

  /// [C, O, k...] as [k... * O, C, 1...].
  TensorId weight(const Layer& layer) {
    const Shape w = shape(layer.inputs[1]);
    std::vector<int64_t> order(w.size() - 2);
    std::iota(order.begin(), order.end(), 2);
    order.insert(order.end(), {1, 0});
    Shape to(w.size(), Dim(1));
    to[0] = std::accumulate(w.begin() + 1, w.end(), Dim(1), [](const Dim& a, const Dim& b) { return a * b; });
    to[1] = w[0];
    return add(layer, Reshape{to}, add(layer, Permute{order}, layer.inputs[1]));
  }

  /// [N, H, k, W, k, O]
  Shape block_shape(const Layer& layer) const {
    const Shape &x = shape(layer.inputs[0]), &w = shape(layer.inputs[1]);
    Shape to{x[0]};
    for (size_t d = 2; d < x.size(); ++d) to.insert(to.end(), {x[d], w[d]});
    to.push_back(w[1]);
    return to;
  }

  /// The result [N, k * k * O, H, W] of the product as [N, H, k, W, k, O].
  TensorId blocks(const Layer& layer, TensorId y) {
    const Shape w = shape(layer.inputs[1]), product = shape(y);
    const auto sides = static_cast<int64_t>(w.size()) - 2;
    Shape split{product[0]};
    split.insert(split.end(), w.begin() + 2, w.end());
    split.push_back(w[1]);
    split.insert(split.end(), product.begin() + 2, product.end());
    std::vector<int64_t> order{0};
    for (int64_t d = 0; d < sides; ++d) order.insert(order.end(), {2 + sides + d, 1 + d});
    order.push_back(1 + sides);
    return add(layer, Permute{order}, add(layer, Reshape{split}, y));
  }

  /// The epilogue over blocks; without one a copy, which moves the pixels.
  TensorId finish(const Layer& layer, TensorId y) {
    const auto& conv = std::get<Conv>(layer.op);
    const Shape to = block_shape(layer);
    Pointwise last{conv.epilogue, {conv.type}};
    if (last.program.empty()) {
      last.program.inputs = {compute_type(net_.type(y, body_).dtype)};
      last.program.outputs = {0};
    }
    std::vector<TensorId> inputs{y};
    for (size_t k = 2; k < layer.inputs.size(); ++k) {
      const TensorId extra = layer.inputs[k];
      const bool image = shape(extra) == shape(layer.outputs[0]);
      inputs.push_back(image ? add(layer, Reshape{to}, channels_last(layer, extra)) : add(layer, Reshape{{numel(shape(extra))}}, extra));
    }
    return net_.add1(std::move(last), inputs, layer.origins, body_);
  }

  TensorId channels_last(const Layer& layer, TensorId image) {
    std::vector<int64_t> order(shape(image).size() - 2);
    std::iota(order.begin(), order.end(), 2);
    order.insert(order.begin(), 0);
    order.push_back(1);
    return add(layer, Permute{order}, image);
  }

  /// [N, H, k, W, k, O] as [N, O, H * k, W * k].
  TensorId image(const Layer& layer, TensorId y) {
    const Shape to = shape(layer.outputs[0]);
    Shape joined(to.begin() + 2, to.end());
    joined.insert(joined.begin(), to[0]);
    joined.push_back(to[1]);
    std::vector<int64_t> order(to.size() - 2);
    std::iota(order.begin(), order.end(), 1);
    order.insert(order.begin(), {0, static_cast<int64_t>(to.size()) - 1});
    return add(layer, Permute{order}, add(layer, Reshape{joined}, y));
  }

  Network& net_;
  int body_;
};

}  // namespace

bool subpixel_convs(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= SubpixelConvs(net, body).run();
  return changed;
}

}  // namespace tuyere
