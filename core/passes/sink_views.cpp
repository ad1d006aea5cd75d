// SPDX-License-Identifier: Apache-2.0
// f(permute(y), c...) => permute(f(y, permute^-1(c)...))          f pointwise, y of a layer that takes f as an epilogue (conv, matmul, reduce, norm)
// f(reshape(y), c...) => reshape(f(y, reshaped back(c)...))       c of one element, varying along the last dimension (if that stays), or of full shape
// The other inputs must be free to move: constants, views of the same permutation, or images under NHWC -> NCHW, whose memory will be channels-last.
// Every layer present at the start is looked at once; it moves up through the views above one of its inputs, so at most through as many as stand there
// (the other inputs get views of their own on the way, which must not be taken for reasons to move on).
// See tests/unit/passes/sink_views.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// Whether a pointwise layer on `id` can become part of the layer that makes it.
bool has_epilogue(const Network& net, TensorId id, int body) {
  for (const Layer* layer = net.producer(id, body); layer;) {
    if (made_by<Conv>(net, id, body) || made_by<MatMul>(net, id, body) || made_by<Reduce>(net, id, body) || made_by<Norm>(net, id, body)) return true;
    if (!std::holds_alternative<Pointwise>(layer->op)) return false;
    const auto same = std::find_if(layer->inputs.begin(), layer->inputs.end(), [&](TensorId in) {
      const Layer* above = net.producer(in, body);
      return net.type(in, body).shape == net.type(id, body).shape && above && group(above->op) == OpGroup::compute;
    });
    if (same == layer->inputs.end()) return false;
    id = *same;
    layer = net.producer(id, body);
  }
  return false;
}

/// The pointwise layer, the view on its input `slot`, and what the view reads.
class Sink {
 public:
  Sink(Network& net, LayerId layer, size_t slot, const std::vector<bool>& constant, int body) : net_(net), body_(body), id_(layer), constant_(constant) {
    const Layer& here = net.bodies[body].layers[layer];
    via_ = here.inputs[slot];
    out_ = here.outputs[0];
  }

  bool matches() {
    const Layer* view = net_.producer(via_, body_);
    if (!view || !(std::holds_alternative<Permute>(view->op) || std::holds_alternative<Reshape>(view->op))) return false;
    if (shape(via_) != shape(out_) || sole_consumer(net_, via_, body_) != id_) return false;
    view_ = view->op;
    y_ = view->inputs[0];
    if (is_constant(y_) || sole_consumer(net_, y_, body_) == kNone || !has_epilogue(net_, y_, body_)) return false;
    if (const auto* permute = std::get_if<Permute>(&view_)) invert(permute->perm);
    const auto& inputs = net_.bodies[body_].layers[id_].inputs;
    return std::all_of(inputs.begin(), inputs.end(), [&](TensorId in) { return in == via_ || movable(in); });
  }

  LayerId apply() {
    const Layer here = net_.bodies[body_].layers[id_];  // by value: adding layers moves the vector
    std::vector<TensorId> inputs;
    for (TensorId in : here.inputs) inputs.push_back(in == via_ ? y_ : moved(in, here.origins));
    const TensorId fresh = net_.add1(here.op, inputs, here.origins, body_);
    const TensorId result = net_.add1(view_, {fresh}, here.origins, body_);
    net_.replace(out_, result, body_);
    net_.erase(id_, body_);
    net_.erase(net_.tensor(via_, body_).producer, body_);
    return net_.tensor(fresh, body_).producer;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  /// Tensors added on the way are views.
  bool is_constant(TensorId id) const {
    if (id < static_cast<TensorId>(constant_.size())) return constant_[id];
    const Layer* view = net_.producer(id, body_);
    return view && group(view->op) == OpGroup::view && is_constant(view->inputs[0]);
  }
  int rank() const { return static_cast<int>(shape(out_).size()); }

  void invert(const std::vector<int64_t>& perm) {
    inverse_.resize(perm.size());
    for (size_t k = 0; k < perm.size(); ++k) inverse_[perm[k]] = static_cast<int64_t>(k);
  }

  bool to_channels_first(const std::vector<int64_t>& perm) const {
    if (perm.size() != 4 && perm.size() != 5) return false;
    for (size_t k = 2; k < perm.size(); ++k)
      if (perm[k] != static_cast<int64_t>(k) - 1) return false;
    return perm[0] == 0;
  }

  const Permute* same_permute(TensorId id) const {
    const auto* mine = std::get_if<Permute>(&view_);
    const auto* other = made_by<Permute>(net_, id, body_);
    return mine && other && other->perm == mine->perm ? other : nullptr;
  }

  bool movable(TensorId id) const {
    if (numel(shape(id)).is_const(1)) return true;
    if (const auto* permute = std::get_if<Permute>(&view_)) {
      if (same_permute(id) || is_constant(id)) return true;
      return to_channels_first(permute->perm) && shape(id).size() == permute->perm.size();
    }
    const Shape &before = shape(y_), &after = shape(out_);
    const bool keeps_last = !before.empty() && !after.empty() && before.back() == after.back();
    return shape(id) == after || (keeps_last && varies_along(shape(id), rank(), rank() - 1) && shape(id).back() == after.back());
  }

  TensorId moved(TensorId id, const Origins& origins) {
    if (numel(shape(id)).is_const(1)) return shape(id).empty() ? id : net_.add1(Reshape{{}}, {id}, origins, body_);
    if (std::holds_alternative<Permute>(view_)) {
      if (same_permute(id)) return net_.producer(id, body_)->inputs[0];
      Shape full(shape(out_).size() - shape(id).size(), 1);
      if (!full.empty()) {
        full.insert(full.end(), shape(id).begin(), shape(id).end());
        id = net_.add1(Reshape{full}, {id}, origins, body_);
      }
      return net_.add1(Permute{inverse_}, {id}, origins, body_);
    }
    if (shape(id) == shape(out_)) return net_.add1(Reshape{shape(y_)}, {id}, origins, body_);
    return shape(id).size() == 1 ? id : net_.add1(Reshape{{shape(id).back()}}, {id}, origins, body_);
  }

  Network& net_;
  int body_;
  LayerId id_;
  const std::vector<bool>& constant_;
  TensorId via_, out_, y_ = kNone;
  Op view_;
  std::vector<int64_t> inverse_;
};

/// Moves a layer up through the views above its input `slot`; whether there was one to pass.
bool sink(Network& net, LayerId id, size_t slot, const std::vector<bool>& constant, int body) {
  for (bool changed = false;; changed = true) {
    Sink attempt(net, id, slot, constant, body);
    if (!attempt.matches()) return changed;
    id = attempt.apply();
  }
}

bool sink(Network& net, LayerId id, const std::vector<bool>& constant, int body) {
  const Layer& layer = net.bodies[body].layers[id];
  if (layer.dead || !std::holds_alternative<Pointwise>(layer.op) || layer.outputs.size() != 1 || net.uses(layer.outputs[0], body) == 0) return false;
  const size_t slots = layer.inputs.size();
  for (size_t slot = 0; slot < slots; ++slot)
    if (sink(net, id, slot, constant, body)) return true;
  return false;
}

}  // namespace

bool sink_views(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const TensorId out = net.bodies[body].layers[id].outputs.empty() ? kNone : net.bodies[body].layers[id].outputs[0];
      if (out == kNone || constant[out]) continue;
      changed |= sink(net, id, constant, body);
    }
  }
  return changed;
}

}  // namespace tuyere
