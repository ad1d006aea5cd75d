// SPDX-License-Identifier: Apache-2.0
// matmul(x, w, bias) => slice(matmul(x, pad(w), pad(bias)))     zeros as further columns of constant weights, where a row of the result would not start at 16
// bytes. Tensor-core kernels move 16 bytes at a time: on a Hopper GPU those for rows at odd addresses take more than twice the time. The padding is done at
// build; readers of the result take its strides, and a copy of it, where one is needed, costs less than the product has gained. On compute capability 9.0
// own.matmul.wgmma writes rows at any address, so there a result of the whole network, which would be copied, stays as it is. See
// tests/unit/passes/pad_matmuls.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr int64_t kBytes = 16;
constexpr int64_t kRows = 128, kColumns = 64, kDepth = 512;  // smaller products are bound by what they read, or by a copy of the result

class Padder {
 public:
  Padder(Network& net, int body, const PassContext& context)
      : net_(net), body_(body), hints_(context.hints), hopper_(is_hopper(context.target)), constant_(constant_tensors(net.bodies[body])) {}

  bool run() {
    bool changed = false;
    for (LayerId id : live(net_, body_)) {
      const Layer layer = net_.bodies[body_].layers[id];  // by value: adding layers moves the vector
      if (!wanted(layer)) continue;
      rewrite(layer);
      changed = true;
    }
    if (changed) net_.sort(body_);
    return changed;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  bool wanted(const Layer& layer) const {
    const auto* matmul = std::get_if<MatMul>(&layer.op);
    if (!matmul || layer.outputs.size() != 1 || constant_[layer.inputs[0]] || !constant_[layer.inputs[1]] || shape(layer.inputs[1]).size() != 2) return false;
    const TensorType &out = net_.type(layer.outputs[0], body_), &w = net_.type(layer.inputs[1], body_);
    if (net_.tensor(layer.outputs[0], body_).observed || (w.dtype != DType::F16 && w.dtype != DType::BF16) || out.dtype != w.dtype || out.shape.size() < 2)
      return false;
    const Dim columns = out.shape.back(), depth = shape(layer.inputs[0])[shape(layer.inputs[0]).size() - (matmul->trans_a ? 2 : 1)];
    if (!columns.is_const() || columns.value() < kColumns || columns.value() % unit(w.dtype) == 0 || !depth.is_const() || depth.value() < kDepth) return false;
    if (hopper_ && matmul->trans_b && depth.value() % unit(w.dtype) == 0 && is_result(layer.outputs[0])) return false;
    if (numel(out.shape).eval(hints_) / columns.value() < kRows) return false;
    return std::all_of(layer.inputs.begin() + 2, layer.inputs.end(), [&](TensorId in) {
      return constant_[in] && varies_along(shape(in), static_cast<int>(out.shape.size()), static_cast<int>(out.shape.size()) - 1);
    });
  }

  bool is_result(TensorId id) const {
    const std::vector<TensorId>& results = net_.bodies[body_].outputs;
    return std::find(results.begin(), results.end(), id) != results.end();
  }

  static int64_t unit(DType type) { return kBytes / bytes_of(type, 1); }

  TensorId padded(TensorId id, size_t axis, int64_t more, const Origins& origins) {
    std::vector<int64_t> none(shape(id).size(), 0), after = none;
    after[axis] = more;
    return net_.add1(Pad{.before = none, .after = after}, {id}, origins, body_);
  }

  void rewrite(const Layer& layer) {
    const MatMul op = std::get<MatMul>(layer.op);
    const int64_t columns = shape(layer.outputs[0]).back().value(), multiple = unit(net_.type(layer.inputs[1], body_).dtype);
    const int64_t more = (columns + multiple - 1) / multiple * multiple - columns;
    std::vector<TensorId> inputs = layer.inputs;
    const int64_t across = op.trans_b ? 0 : 1;
    inputs[1] = padded(inputs[1], static_cast<size_t>(across), more, layer.origins);
    share(layer.inputs[1], inputs[1], Slice{across, 0, columns, 1}, layer.origins);
    for (size_t k = 2; k < inputs.size(); ++k)
      if (!shape(inputs[k]).empty() && shape(inputs[k]).back().is_const(columns))
        inputs[k] = padded(inputs[k], shape(inputs[k]).size() - 1, more, layer.origins);
    const TensorId whole = net_.add1(op, inputs, layer.origins, body_);
    const auto axis = static_cast<int64_t>(shape(whole).size()) - 1;
    net_.replace(layer.outputs[0], net_.add1(Slice{axis, 0, columns, 1}, {whole}, layer.origins, body_), body_);
  }

  /// An embedding with these weights reads the padded ones: they need not be in memory twice.
  void share(TensorId weights, TensorId more, const Slice& part, const Origins& origins) {
    TensorId view = kNone;
    for (LayerId reader : net_.consumers(weights, body_)) {
      const Layer& gather = net_.bodies[body_].layers[reader];
      if (!std::holds_alternative<Gather>(gather.op) || gather.inputs[0] != weights) continue;
      if (view == kNone) view = net_.add1(part, {more}, origins, body_);
      net_.set_input(reader, 0, view, body_);
    }
  }

  Network& net_;
  int body_;
  const Symbols& hints_;
  const bool hopper_;
  std::vector<bool> constant_;
};

}  // namespace

bool pad_matmuls(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= Padder(net, body, context).run();
  return changed;
}

}  // namespace tuyere
