// SPDX-License-Identifier: Apache-2.0
#include "core/builder/concat.h"

#include <algorithm>
#include <optional>

#include "common/error.h"
#include "core/builder/access.h"
#include "core/builder/strides.h"

namespace tuyere {
namespace {

struct Use {
  LayerId layer;
  int slot;
};

class ConcatPlanner {
 public:
  ConcatPlanner(const Network& network, int body, bool on_gpu)
      : net_(network), number_(body), on_gpu_(on_gpu), body_(network.bodies[body]), uses_(body_.tensors.size()) {
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
    std::map<TensorId, LayerId> views;
    View place = place_of(layer.outputs[0]);
    Dim start = 0;
    for (TensorId part : layer.inputs) {
      if (can_write(part, id, layer.outputs[0], place, views)) found.push_back({part, {layer.outputs[0], axis, start}});
      const Dim size = body_.tensors[part].type.shape[axis];
      start += size;
      place.offset += size * place.strides[axis];
    }
    if (found.empty() || 2 * found.size() < layer.inputs.size()) return;
    plan_.slots.insert(found.begin(), found.end());
    plan_.before_views.insert(views.begin(), views.end());
    plan_.written_in_place.insert(id);
  }

  /// Where the parts of this Concat lie side by side in the result of a later one, as in DenseNet, whose layers read all results before them:
  /// its result is that slice.
  std::optional<ConcatSlot> already_joined(LayerId id) const {
    const Layer& layer = body_.layers[id];
    const TensorId joined = layer.outputs[0];
    if (!may_be_slice(joined)) return std::nullopt;
    for (const Use& use : uses_[layer.inputs[0]]) {
      if (!plan_.written_in_place.count(use.layer) || concat_axis(net_, number_, use.layer) != concat_axis(net_, number_, id)) continue;
      const Layer& whole = body_.layers[use.layer];
      const size_t first = static_cast<size_t>(use.slot);
      if (first + layer.inputs.size() > whole.inputs.size() || !std::equal(layer.inputs.begin(), layer.inputs.end(), whole.inputs.begin() + use.slot)) continue;
      if (body_.tensors[joined].type.layout != body_.tensors[whole.outputs[0]].type.layout) continue;
      const ConcatSlot slot = slot_of(whole, concat_axis(net_, number_, id), first);
      if (readers_beside(joined, kNone, place_of(slot)) == uses_[joined].size()) return slot;
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
    return tensor.producer != kNone && !is_handed_out(id) && plan_.slots.count(id) == 0 && plan_.before_views.count(id) == 0;
  }

  /// Whether the producer of `part`, which `reader` reads, may write it as a part of `whole`, at this place; `views` get the views between them.
  bool can_write(TensorId part, LayerId reader, TensorId whole, const View& place, std::map<TensorId, LayerId>& views, bool behind_view = false) const {
    if (!may_be_slice(part) || readers_beside(part, reader, place) != uses_[part].size() - 1) return false;
    const Tensor& tensor = body_.tensors[part];
    const Layer& producer = body_.layers[tensor.producer];
    if (std::holds_alternative<Reshape>(producer.op) || std::holds_alternative<Permute>(producer.op)) {
      const TensorId before = producer.inputs[0];
      const auto view = view_before(producer.op, body_.tensors[before].type.shape, place, tensor.type.shape);
      if (!view || !can_write(before, tensor.producer, whole, *view, views, true)) return false;
      views[before] = tensor.producer;
      return true;
    }
    // Other kernels are not good at writing every order.
    if (behind_view) return std::holds_alternative<Pointwise>(producer.op);
    return writes_slices(producer.op) && (!keeps_order(producer.op) || tensor.type.layout == body_.tensors[whole].type.layout);
  }

  /// Where a tensor will lie.
  View place_of(TensorId id) const {
    const TensorType& type = body_.tensors[id].type;
    if (auto slot = plan_.slots.find(id); slot != plan_.slots.end()) return place_of(slot->second);
    const auto view = plan_.before_views.find(id);
    if (view == plan_.before_views.end()) return {layout_strides(type.shape, type.layout), 0};
    const Layer& layer = body_.layers[view->second];
    return *view_before(layer.op, type.shape, place_of(layer.outputs[0]), body_.tensors[layer.outputs[0]].type.shape);
  }
  View place_of(const ConcatSlot& slot) const {
    View place = place_of(slot.whole);
    place.offset += slot.start * place.strides[slot.axis];
    return place;
  }

  /// How many uses but those by `except` read the tensor from such a place.
  size_t readers_beside(TensorId id, LayerId except, const View& place) const {
    return static_cast<size_t>(
        std::count_if(uses_[id].begin(), uses_[id].end(), [&](const Use& use) { return use.layer != except && reads_from(place, use, id); }));
  }

  bool reads_from(const View& place, const Use& use, TensorId id) const {
    const Layer& layer = body_.layers[use.layer];
    const TensorType& type = body_.tensors[id].type;
    if (const auto* slice = std::get_if<Slice>(&layer.op)) {
      const TensorId part = layer.outputs[0];
      const auto view = view_of(*slice, type.shape, place, body_.tensors[part].type.shape);
      const auto reads_part = [&](const Use& other) { return reads_from(*view, other, part); };
      return view && !is_handed_out(part) && std::all_of(uses_[part].begin(), uses_[part].end(), reads_part);
    }
    if (group(layer.op) != OpGroup::compute) return false;
    const Access need = access(layer.op, use.slot, on_gpu_);
    return need == Access::any || (need == Access::pixels && satisfies(need, type, place.strides, place.offset));
  }

  bool is_handed_out(TensorId id) const {
    return body_.tensors[id].observed || std::find(body_.outputs.begin(), body_.outputs.end(), id) != body_.outputs.end();
  }

  const Network& net_;
  int number_;
  bool on_gpu_;
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

ConcatPlan plan_concats(const Network& network, int body, bool on_gpu) { return ConcatPlanner(network, body, on_gpu).run(); }

}  // namespace tuyere
