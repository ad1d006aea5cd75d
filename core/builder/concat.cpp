// SPDX-License-Identifier: Apache-2.0
#include "core/builder/concat.h"

#include <algorithm>

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

  bool can_write(TensorId part, LayerId concat) const {
    const Tensor& tensor = body_.tensors[part];
    if (tensor.producer == kNone || tensor.observed || plan_.slots.count(part)) return false;
    if (std::find(body_.outputs.begin(), body_.outputs.end(), part) != body_.outputs.end()) return false;
    const Layer& producer = body_.layers[tensor.producer];
    if (!writes_slices(producer.op)) return false;
    const Tensor& whole = body_.tensors[body_.layers[concat].outputs[0]];
    if (keeps_order(producer.op) && !(tensor.type.layout == whole.type.layout)) return false;
    int here = 0;
    for (const Use& use : uses_[part]) {
      if (use.layer == concat) {
        ++here;
        continue;
      }
      const Op& op = body_.layers[use.layer].op;
      if (group(op) != OpGroup::compute || access(op, use.slot) != Access::any) return false;
    }
    return here == 1;
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
