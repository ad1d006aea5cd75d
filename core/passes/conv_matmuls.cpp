// SPDX-License-Identifier: Apache-2.0
// conv(x, w) => matmul(x, w)                        1x1, of images of one pixel
// conv(x, w) => matmul(x, w)                        on Hopper: 1x1, with an epilogue that libraries do not know: own products take any
// conv(mul(x, g), w) => matmul(x, mul(w, g))        on a GPU: 1x1, g one number per image and channel (squeeze-excite): a product of its own for each image
// The gate is multiplied into the weight, which is smaller than the image when an image has more pixels than the weight has rows; rounding that product costs
// what rounding the image's costs. Images are channels-last around convolutions, so their pixels are the rows of a matrix by a view.
// See tests/unit/passes/conv_matmuls.cpp
#include <algorithm>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr int64_t kPixelsPerRow = 2;  // of the weight, at least, for a gate to move

/// Values of the program that depend on input `slot`.
std::vector<bool> depending(const Program& program, size_t slot) {
  std::vector<bool> depends(program.inputs.size(), false);
  depends[slot] = true;
  for (const Inst& inst : program.body)
    depends.push_back(std::any_of(inst.args.begin(), inst.args.end(), [&](int16_t arg) { return arg >= 0 && depends[static_cast<size_t>(arg)]; }));
  return depends;
}

/// Whether the program is a product of its input `slot` and of something else.
bool is_product_of(const Program& program, size_t slot) {
  if (program.outputs.size() != 1 || program.outputs[0] < static_cast<int>(program.inputs.size())) return false;
  const Inst& last = program.body[static_cast<size_t>(program.outputs[0]) - program.inputs.size()];
  if (last.fn != Fn::mul || !is_float(last.type)) return false;
  const std::vector<bool> depends = depending(program, slot);
  for (int k : {0, 1})
    if (last.args[k] == static_cast<int16_t>(slot) && !depends[static_cast<size_t>(last.args[1 - k])]) return true;
  return false;
}

class ConvMatMuls {
 public:
  ConvMatMuls(Network& net, int body, const PassContext& context)
      : net_(net), body_(body), context_(context), gates_(context.target.is_cuda()), constant_(constant_tensors(net.bodies[body])) {}

  bool run() {
    bool changed = false;
    for (LayerId id : live(net_, body_)) {
      const Layer layer = net_.bodies[body_].layers[id];  // by value: adding layers moves the vector
      if (!is_candidate(layer)) continue;
      const Shape x = shape(layer.inputs[0]);
      if (x[2].is_const(1) && x[3].is_const(1)) {
        const TensorId w = view(layer, layer.inputs[1], {weight_rows(layer), x[1]});
        changed |= replace(id, layer, view(layer, layer.inputs[0], {x[0], x[1]}), w, false);
      } else if (has_formula(layer)) {
        const TensorId w = view(layer, layer.inputs[1], {weight_rows(layer), x[1]});
        changed |= replace(id, layer, rows(layer, layer.inputs[0]), w, true);
      } else if (const std::optional<size_t> slot = gates_ ? gated_input(layer) : std::nullopt) {
        changed |= move_gate(id, layer, *slot);
      }
    }
    if (changed) net_.sort(body_);
    return changed;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  /// Tensors that this pass adds as images are none.
  bool is_constant(TensorId id) const { return static_cast<size_t>(id) < constant_.size() && constant_[id]; }
  Dim weight_rows(const Layer& layer) const { return shape(layer.inputs[1])[0]; }

  bool is_candidate(const Layer& layer) const {
    return tuyere::is_pixelwise(net_, layer, body_) && is_constant(layer.inputs[1]) && !is_constant(layer.inputs[0]);
  }

  /// Whether the epilogue is one for own kernels.
  bool has_formula(const Layer& layer) const {
    const Program& epilogue = std::get<Conv>(layer.op).epilogue;
    if (epilogue.empty() || !is_hopper_pixelwise(net_, layer, constant_, body_, context_)) return false;
    return !is_simple_epilogue(net_, layer.op, epilogue, std::span(layer.inputs).subspan(2), shape(layer.outputs[0]), body_);
  }

  /// The slot of the image in the pointwise layer before the convolution, when all else there is one number per image and channel.
  std::optional<size_t> gated_input(const Layer& layer) const {
    const TensorId product = layer.inputs[0];
    const Layer* mul = net_.producer(product, body_);
    const Shape &x = shape(product), &w = shape(layer.inputs[1]);
    if (!mul || !std::holds_alternative<Pointwise>(mul->op) || mul->outputs.size() != 1 || net_.uses(product, body_) != 1) return std::nullopt;
    if (!x[2].is_const() || !x[3].is_const() || !w[0].is_const() || x[2].value() * x[3].value() < kPixelsPerRow * w[0].value()) return std::nullopt;
    std::optional<size_t> image;
    for (size_t k = 0; k < mul->inputs.size(); ++k) {
      const Shape& in = shape(mul->inputs[k]);
      if (in == x && !image)
        image = k;
      else if (in.size() >= 2 && !(in.back().is_const(1) && in[in.size() - 2].is_const(1)))
        return std::nullopt;
      else if (in.size() == 1 && !in[0].is_const(1))
        return std::nullopt;
    }
    if (!image || net_.type(mul->inputs[*image], body_).dtype != net_.type(product, body_).dtype) return std::nullopt;
    const auto* before = made_by<Conv>(net_, mul->inputs[*image], body_);  // which writes channels-last
    if (!before || before->transposed || !is_product_of(std::get<Pointwise>(mul->op).program, *image)) return std::nullopt;
    return image;
  }

  bool move_gate(LayerId id, const Layer& layer, size_t slot) {
    const Layer mul = *net_.producer(layer.inputs[0], body_);
    const Shape x = shape(layer.inputs[0]);
    std::vector<TensorId> inputs;
    for (size_t k = 0; k < mul.inputs.size(); ++k)
      inputs.push_back(k == slot ? view(layer, layer.inputs[1], {Dim(1), weight_rows(layer), x[1]}) : gate(layer, mul.inputs[k]));
    Pointwise scale = std::get<Pointwise>(mul.op);
    scale.types = {net_.type(layer.inputs[1], body_).dtype};
    Origins origins = layer.origins;
    origins.insert(mul.origins.begin(), mul.origins.end());
    const TensorId w = net_.add1(std::move(scale), inputs, origins, body_);
    return replace(id, layer, rows(layer, mul.inputs[slot]), w, true);
  }

  TensorId view(const Layer& layer, TensorId id, Shape to) { return net_.add1(Reshape{std::move(to)}, {id}, layer.origins, body_); }

  /// [N, C, 1, 1] as [N, 1, C]; whatever has fewer dims, too.
  TensorId gate(const Layer& layer, TensorId id) {
    const Shape from = shape(id);
    if (from.size() <= 2) return id;
    const size_t channel = from.size() - 3;
    return view(layer, id, from.size() == 4 ? Shape{from[0], Dim(1), from[channel]} : Shape{from[channel]});
  }

  /// [N, C, H, W] as [N, H * W, C].
  TensorId rows(const Layer& layer, TensorId id) {
    const Shape from = shape(id);
    return view(layer, net_.add1(Permute{{0, 2, 3, 1}}, {id}, layer.origins, body_), {from[0], from[2] * from[3], from[1]});
  }

  /// An input of the convolution's epilogue as one of the product's.
  TensorId extra(const Layer& layer, TensorId id, bool images) {
    const Shape from = shape(id);
    if (from.size() < 3) return id;
    const bool pixels = !(from.back().is_const(1) && from[from.size() - 2].is_const(1));
    if (from.size() == 4 && images) return pixels ? rows(layer, id) : view(layer, id, {from[0], Dim(1), from[1]});
    return from.size() == 4 ? view(layer, id, {from[0], from[1]}) : view(layer, id, {from[0]});
  }

  bool replace(LayerId id, const Layer& layer, TensorId x, TensorId w, bool images) {
    const auto& conv = std::get<Conv>(layer.op);
    const Shape to = shape(layer.outputs[0]);
    std::vector<TensorId> inputs = {x, w};
    for (size_t k = 2; k < layer.inputs.size(); ++k) inputs.push_back(extra(layer, layer.inputs[k], images));
    TensorId y = net_.add1(MatMul{.trans_b = true, .tf32 = conv.tf32, .type = conv.type, .epilogue = conv.epilogue}, inputs, layer.origins, body_);
    y = view(layer, y, images ? Shape{to[0], to[2], to[3], to[1]} : to);
    if (images) y = net_.add1(Permute{{0, 3, 1, 2}}, {y}, layer.origins, body_);
    net_.replace(layer.outputs[0], y, body_);
    net_.erase(id, body_);
    return true;
  }

  Network& net_;
  int body_;
  const PassContext& context_;
  bool gates_;  // the CPU's convolutions want weights that do not change
  std::vector<bool> constant_;
};

}  // namespace

bool conv_matmuls(Network& net, const PassContext& context) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= ConvMatMuls(net, body, context).run();
  return changed;
}

}  // namespace tuyere
