// SPDX-License-Identifier: Apache-2.0
#include "core/builder/in_place.h"

#include <algorithm>

namespace tuyere {
namespace {

struct Life {
  int first_write = INT32_MAX, last_read = -1, writers = 0;
  bool observed = false;
};

class Sharer {
 public:
  Sharer(const Body& body, Placement& placement) : body_(body), placed_(placement), lives_(placement.buffers.size()) {
    for (int s = 0; s < static_cast<int>(placed_.steps.size()); ++s) {
      const Layer& layer = body_.layers[placed_.steps[s]];
      for (TensorId t : layer.inputs) life(t).last_read = s;
      for (TensorId t : layer.outputs) {
        life(t).first_write = std::min(life(t).first_write, s);
        life(t).writers++;
      }
    }
    for (size_t t = 0; t < placed_.tensors.size(); ++t) {
      if (placed_.tensors[t].buffer >= 0 && body_.tensors[t].observed) life(static_cast<TensorId>(t)).observed = true;
    }
  }

  void run() {
    for (int s = 0; s < static_cast<int>(placed_.steps.size()); ++s) {
      const Layer& layer = body_.layers[placed_.steps[s]];
      if (!std::holds_alternative<Pointwise>(layer.op)) continue;
      for (TensorId out : layer.outputs) share(layer, s, out);
    }
    drop_unused();
  }

 private:
  Life& life(TensorId t) { return lives_[placed_.tensors[t].buffer]; }

  void share(const Layer& layer, int step, TensorId out) {
    int to = placed_.tensors[out].buffer;
    if (lives_[to].writers != 1 || lives_[to].observed || lives_[to].first_write != step) return;
    for (TensorId in : layer.inputs) {
      if (!dies_here(layer, step, in, out)) continue;
      int from = placed_.tensors[in].buffer;
      for (PlacedTensor& t : placed_.tensors) {
        if (t.buffer == from) t.buffer = to;
      }
      lives_[to].first_write = lives_[from].first_write;
      lives_[to].writers += lives_[from].writers;
      return;
    }
  }

  bool dies_here(const Layer& layer, int step, TensorId in, TensorId out) {
    const PlacedTensor &a = placed_.tensors[in], &b = placed_.tensors[out];
    const PlacedBuffer &from = placed_.buffers[a.buffer], &to = placed_.buffers[b.buffer];
    const TensorType &x = body_.tensors[in].type, &y = body_.tensors[out].type;
    if (a.buffer == b.buffer || from.kind != BufferKind::arena || life(in).last_read != step || life(in).observed) return false;
    if (from.dtype != to.dtype || from.elements != to.elements || x.dtype != y.dtype || !same_window(x.shape, a, y.shape, b)) return false;
    for (TensorId other : layer.inputs) {
      if (placed_.tensors[other].buffer == a.buffer && !same_window(x.shape, a, body_.tensors[other].type.shape, placed_.tensors[other])) return false;
    }
    return std::all_of(layer.outputs.begin(), layer.outputs.end(), [&](TensorId t) { return placed_.tensors[t].buffer != a.buffer; });
  }

  static bool same_window(const Shape& x, const PlacedTensor& a, const Shape& y, const PlacedTensor& b) {
    return x == y && a.offset == b.offset && same_strides(x, a.strides, b.strides);
  }

  void drop_unused() {
    std::vector<int> number(placed_.buffers.size(), -1);
    std::vector<PlacedBuffer> kept;
    for (const PlacedTensor& t : placed_.tensors) {
      if (t.buffer >= 0) number[t.buffer] = 0;
    }
    for (size_t b = 0; b < number.size(); ++b) {
      if (number[b] < 0) continue;
      number[b] = static_cast<int>(kept.size());
      kept.push_back(placed_.buffers[b]);
    }
    for (PlacedTensor& t : placed_.tensors) {
      if (t.buffer >= 0) t.buffer = number[t.buffer];
    }
    placed_.buffers = std::move(kept);
  }

  const Body& body_;
  Placement& placed_;
  std::vector<Life> lives_;
};

}  // namespace

void share_in_place(const Network& network, int body, Placement& placement) { Sharer(network.bodies[body], placement).run(); }

}  // namespace tuyere
