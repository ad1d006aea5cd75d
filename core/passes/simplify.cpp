// SPDX-License-Identifier: Apache-2.0
// reshape(x, shape of x) => x          reshape(reshape(x, a), b) => reshape(x, b)
// permute(x, 0 1 2 ..) => x            permute(permute(x, p), q) => permute(x, p[q])
// expand(x, shape of x) => x           pointwise(expand(x), y) => pointwise(x, y)        when y still gives the shape
// slice(x, all) => x                   concat(x) => x       pad(x, 0) => x       cast(x, type of x) => x       adaptive_pool(x, size of x) => x
// See tests/unit/passes/simplify.cpp
#include <algorithm>
#include <numeric>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

bool all_zero(const std::vector<int64_t>& v) {
  return std::all_of(v.begin(), v.end(), [](int64_t x) { return x == 0; });
}

/// Whether the layer gives its first input back unchanged.
bool is_identity(const Network& net, const Layer& layer, int body) {
  const TensorType& in = net.type(layer.inputs[0], body);
  const TensorType& out = net.type(layer.outputs[0], body);
  if (layer.outputs.size() != 1 || in.dtype != out.dtype || in.shape != out.shape) return false;
  if (const auto* op = std::get_if<Permute>(&layer.op)) return std::is_sorted(op->perm.begin(), op->perm.end());
  if (const auto* op = std::get_if<Slice>(&layer.op)) return op->step == 1 && op->start.is_const(0);
  if (const auto* op = std::get_if<Concat>(&layer.op)) return layer.inputs.size() == 1 && op != nullptr;
  if (const auto* op = std::get_if<Pad>(&layer.op)) return all_zero(op->before) && all_zero(op->after);
  if (const auto* op = std::get_if<Pointwise>(&layer.op))
    return layer.inputs.size() == 1 && in.layout == out.layout && tuyere::simplify(op->program).is_identity();
  return is_any_of<Reshape, Expand, AdaptivePool>(layer.op);  // pooling to the size there is reads one value each
}

/// Views of views read the first one's input.
bool merge_views(Network& net, LayerId id, int body) {
  Layer& layer = net.bodies[body].layers[id];
  const Layer* inner = net.producer(layer.inputs[0], body);
  if (!inner || inner->dead || net.tensor(layer.inputs[0], body).observed) return false;
  const TensorId source = inner->inputs.empty() ? kNone : inner->inputs[0];
  if (std::holds_alternative<Reshape>(layer.op) && std::holds_alternative<Reshape>(inner->op)) {
    net.set_input(id, 0, source, body);
    return true;
  }
  auto* permute = std::get_if<Permute>(&layer.op);
  const auto* first = std::get_if<Permute>(&inner->op);
  if (!permute || !first) return false;
  for (int64_t& p : permute->perm) p = first->perm[p];
  net.set_input(id, 0, source, body);
  return true;
}

bool drop_expands(Network& net, LayerId id, int body) {
  const Layer& layer = net.bodies[body].layers[id];
  if (!std::holds_alternative<Pointwise>(layer.op)) return false;
  bool changed = false;
  for (size_t k = 0; k < layer.inputs.size(); ++k) {
    if (!made_by<Expand>(net, layer.inputs[k], body)) continue;
    const TensorId source = net.producer(layer.inputs[k], body)->inputs[0];
    Shape shape = net.type(source, body).shape;
    for (size_t j = 0; j < layer.inputs.size(); ++j)
      if (j != k) shape = broadcast(shape, net.type(layer.inputs[j], body).shape);
    if (shape != net.type(layer.outputs[0], body).shape) continue;
    net.set_input(id, static_cast<int>(k), source, body);
    changed = true;
  }
  return changed;
}

}  // namespace

bool simplify(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    for (bool changed = true; changed;) {
      changed = false;
      for (LayerId id : live(net, body)) {
        const Layer& layer = net.bodies[body].layers[id];
        if (layer.inputs.empty() || net.uses(layer.outputs[0], body) == 0) continue;
        if (is_identity(net, layer, body)) {
          net.replace(layer.outputs[0], layer.inputs[0], body);
          changed = true;
        } else if (merge_views(net, id, body) || drop_expands(net, id, body)) {
          changed = true;
        }
      }
      any |= changed;
    }
  }
  return any;
}

}  // namespace tuyere
