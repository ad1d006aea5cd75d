// SPDX-License-Identifier: Apache-2.0
#include "core/builder/concat.h"

#include <algorithm>
#include <optional>

#include "common/error.h"
#include "core/builder/access.h"

namespace tuyere {
namespace {

struct Use {
  LayerId layer;
  int slot;
};

class ConcatPlanner {
 public:
  ConcatPlanner(const Network& network, int body) : net_(network), number_(body), body_(network.bodies[body]), uses_(body_.tensors.size()) {
    for (size_t i = 0; i < body_.layers.size(); ++i) {
      const Layer& layer = body_.layers[i];
      if (layer.dead) continue;
      for (size_t slot = 0; slot < layer.inputs.size(); ++slot) uses_[layer.inputs[slot]].push_back({static_cast<LayerId>(i), static_cast<int>(slot)});
    }
  }

  /// Last Concat first, so that a Concat within a Concat writes through to the outermost buffer.
  ConcatPlan run() {
    for (LayerId id = static_cast<LayerId>(body_.layers.size()) - 1; id >= 0; --id) {
      const Layer& layer = body_.layers[id];
      if (!layer.dead && std::holds_alternative<Concat>(layer.op)) plan(id);
    }
    return std::move(plan_);
  }

 private:
  void plan(LayerId id) {
    if (std::optional<ConcatSlot> there = already_joined(id)) {
      plan_.slots.insert({body_.layers[id].outputs[0], *there});
      plan_.written_in_place.insert(id);
      return;
    }
    const Layer& layer = body_.layers[id];
    int axis = concat_axis(net_, number_, id);
    std::vector<std::pair<TensorId, ConcatSlot>> found;
    Dim start = 0;
    for (TensorId part : layer.inputs) {
      if (can_write(part, id)) found.push_back({part, {layer.outputs[0], axis, start}});
      start += body_.tensors[part].type.shape[axis];
    }
    if (found.empty() || 2 * found.size() < layer.inputs.size()) return;
    plan_.slots.insert(found.begin(), found.end());
    plan_.written_in_place.insert(id);
  }

  /// Where the parts of this Concat lie side by side in the result of a later one, as in DenseNet, whose layers read all results before them:
  /// its result is that slice.
  std::optional<ConcatSlot> already_joined(LayerId id) const {
    const Layer& layer = body_.layers[id];
    const TensorId joined = layer.outputs[0];
    if (!may_be_slice(joined) || readers_beside(joined, kNone) != uses_[joined].size()) return std::nullopt;
    for (const Use& use : uses_[layer.inputs[0]]) {
      if (!plan_.written_in_place.count(use.layer) || concat_axis(net_, number_, use.layer) != concat_axis(net_, number_, id)) continue;
      const Layer& whole = body_.layers[use.layer];
      const size_t first = static_cast<size_t>(use.slot);
      if (first + layer.inputs.size() > whole.inputs.size() || !std::equal(layer.inputs.begin(), layer.inputs.end(), whole.inputs.begin() + use.slot)) continue;
      if (body_.tensors[joined].type.layout == body_.tensors[whole.outputs[0]].type.layout) return slot_of(whole, concat_axis(net_, number_, id), first);
    }
    return std::nullopt;
  }

  ConcatSlot slot_of(const Layer& concat, int axis, size_t input) const {
    ConcatSlot slot{concat.outputs[0], axis, 0};
    for (size_t i = 0; i < input; ++i) slot.start += body_.tensors[concat.inputs[i]].type.shape[axis];
    return slot;
  }

  bool may_be_slice(TensorId id) const {
    const Tensor& tensor = body_.tensors[id];
    if (tensor.producer == kNone || tensor.observed || plan_.slots.count(id)) return false;
    return std::find(body_.outputs.begin(), body_.outputs.end(), id) == body_.outputs.end();
  }

  bool can_write(TensorId part, LayerId concat) const {
    if (!may_be_slice(part)) return false;
    const Tensor& tensor = body_.tensors[part];
    const Layer& producer = body_.layers[tensor.producer];
    if (!writes_slices(producer.op)) return false;
    const Tensor& whole = body_.tensors[body_.layers[concat].outputs[0]];
    if (keeps_order(producer.op) && !(tensor.type.layout == whole.type.layout)) return false;
    return readers_beside(part, concat) == uses_[part].size() - 1;
  }

  /// How many uses but those by `except` read any strides.
  size_t readers_beside(TensorId id, LayerId except) const {
    return static_cast<size_t>(std::count_if(uses_[id].begin(), uses_[id].end(), [&](const Use& use) {
      const Op& op = body_.layers[use.layer].op;
      return use.layer != except && group(op) == OpGroup::compute && access(op, use.slot) == Access::any;
    }));
  }

  const Network& net_;
  int number_;
  const Body& body_;
  std::vector<std::vector<Use>> uses_;
  ConcatPlan plan_;
};

}  // namespace

int concat_axis(const Network& network, int body, LayerId concat) {
  const Layer& layer = network.bodies[body].layers[concat];
  int64_t axis = std::get<Concat>(layer.op).axis;
  int64_t rank = static_cast<int64_t>(network.type(layer.outputs[0], body).shape.size());
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

ConcatPlan plan_concats(const Network& network, int body) { return ConcatPlanner(network, body).run(); }

}  // namespace tuyere
