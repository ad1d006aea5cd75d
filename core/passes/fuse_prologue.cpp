// SPDX-License-Identifier: Apache-2.0
// softmax(f(x, y)) => softmax(x, y) prologue={f}        also reduce and norm
// s = f(x, y); norm(s); g(s) => n, s = norm(x, y) prologue={f, stored}; g(s)
// See tests/unit/passes/fuse.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

Program* prologue_of(Op& op) {
  if (auto* o = std::get_if<Softmax>(&op)) return &o->prologue;
  if (auto* o = std::get_if<Reduce>(&op)) return &o->prologue;
  if (auto* o = std::get_if<Norm>(&op)) return &o->prologue;
  return nullptr;
}

/// Inputs of the prologue with the full shape come first: kernels take their iteration space from input 0.
bool full_shape_first(const Network& net, Composed& c, const Shape& shape, int body) {
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    if (net.type(c.inputs[k], body).shape != shape) continue;
    std::vector<int> order{static_cast<int>(k)};
    for (size_t j = 0; j < c.inputs.size(); ++j)
      if (j != k) order.push_back(static_cast<int>(j));
    c.program = permute_inputs(c.program, order);
    std::vector<TensorId> inputs;
    for (int j : order) inputs.push_back(c.inputs[j]);
    c.inputs = std::move(inputs);
    return true;
  }
  return false;
}

/// Whether the sum may be stored by the norm: every other reader comes after it.
bool may_store(const Network& net, const Layer& norm, TensorId via, int body) {
  const auto* op = std::get_if<Norm>(&norm.op);
  return op && op->extra_types.empty() && op->epilogue.inputs.size() <= 1 && !net.tensor(via, body).observed;
}

bool fuse_into_consumer(Network& net, LayerId id, const std::vector<bool>& constant, int body) {
  const Layer layer = net.bodies[body].layers[id];  // by value: adding a layer moves the vector
  Op op = layer.op;
  Program* prologue = prologue_of(op);
  if (!prologue || !prologue->empty() || layer.outputs.size() != 1) return false;
  const TensorId via = layer.inputs[0];
  const Layer* producer = net.producer(via, body);
  if (!producer || constant[via] || producer->outputs.size() != 1) return false;
  const auto* inner = std::get_if<Pointwise>(&producer->op);
  if (!inner || inner->program.empty() || !is_float(net.type(via, body).dtype) || producer->inputs.size() > 4) return false;
  const bool single_use = sole_consumer(net, via, body) == id;
  if (!single_use && !may_store(net, layer, via, body)) return false;
  if (std::find(layer.inputs.begin() + 1, layer.inputs.end(), via) != layer.inputs.end()) return false;

  Program identity;
  identity.inputs = {compute_type(net.type(via, body).dtype)};
  identity.outputs = {0};
  Composed c = compose_through(identity, {via}, via, inner->program, producer->inputs, 0, net.type(via, body).dtype);
  if (!full_shape_first(net, c, net.type(via, body).shape, body)) return false;
  if (!single_use) {
    c.program.outputs.push_back(c.program.outputs[0]);
    std::get<Norm>(op).extra_types = {net.type(via, body).dtype};
  }
  *prologue = c.program;
  std::vector<TensorId> inputs = c.inputs;
  inputs.insert(inputs.end(), layer.inputs.begin() + 1, layer.inputs.end());
  Origins origins = layer.origins;
  origins.insert(producer->origins.begin(), producer->origins.end());
  const std::vector<TensorId> fresh = net.add(std::move(op), std::move(inputs), std::move(origins), body);
  net.replace(layer.outputs[0], fresh[0], body);
  net.erase(id, body);  // before the sum is replaced: it would read the stored sum and hold the new layer in a circle
  if (!single_use) net.replace(via, fresh[1], body);
  return true;
}

}  // namespace

bool fuse_prologue(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    for (bool changed = true; changed; any |= changed) {
      changed = false;
      const std::vector<bool> constant = constant_tensors(net.bodies[body]);
      for (LayerId id : live(net, body)) {
        const TensorId out = net.bodies[body].layers[id].outputs[0];
        if (!constant[out] && net.uses(out, body) > 0 && fuse_into_consumer(net, id, constant, body)) {
          changed = true;
          break;
        }
      }
    }
  }
  return any;
}

}  // namespace tuyere
