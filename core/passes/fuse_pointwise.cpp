// SPDX-License-Identifier: Apache-2.0
// g(f(x...), y...) => (g . f)(x..., y...)          f with one reader; or f cheap, and then once per reader
// See tests/unit/passes/fuse.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr size_t kMaxInputs = 8, kMaxInstructions = 64;
constexpr int kCheap = 2;

/// Whether computing the producer inside this reader is worth it.
bool worth(const Network& net, const Layer& producer, TensorId via, const Layer& reader, int body) {
  if (net.tensor(via, body).observed) return false;
  const auto& op = std::get<Pointwise>(producer.op);
  const ProgramCost cost = cost_of(op.program);
  const bool cheap = cost.instructions <= kCheap && !cost.expensive;
  const bool same_shape = net.type(via, body).shape == net.type(reader.outputs[0], body).shape;
  if (!same_shape && !cheap) return false;  // a broadcast would repeat the work
  const auto& outputs = net.bodies[body].outputs;
  if (std::find(outputs.begin(), outputs.end(), via) != outputs.end()) return false;
  const std::vector<LayerId> readers = net.consumers(via, body);
  const bool one = std::all_of(readers.begin(), readers.end(), [&](LayerId r) { return r == readers[0]; });
  if (one) return true;
  // several readers: repeat only what reads no more than the intermediate itself would cost
  return cheap && producer.inputs.size() == 1 &&
         std::all_of(readers.begin(), readers.end(), [&](LayerId r) { return std::holds_alternative<Pointwise>(net.bodies[body].layers[r].op); });
}

bool fuse_into(Network& net, LayerId id, const std::vector<bool>& constant, int body) {
  for (TensorId via : std::vector<TensorId>(net.bodies[body].layers[id].inputs)) {
    const Layer& reader = net.bodies[body].layers[id];
    const Layer* producer = net.producer(via, body);
    if (!producer || (via < static_cast<TensorId>(constant.size()) && constant[via]) || !std::holds_alternative<Pointwise>(producer->op) ||
        producer->outputs.size() != 1)
      continue;
    if (net.type(via, body).layout != net.type(reader.outputs[0], body).layout && !net.type(via, body).layout.is_row_major()) continue;
    if (!worth(net, *producer, via, reader, body)) continue;
    const auto& outer = std::get<Pointwise>(reader.op);
    const auto& inner = std::get<Pointwise>(producer->op);
    Composed c = compose_through(outer.program, reader.inputs, via, inner.program, producer->inputs, 0, net.type(via, body).dtype);
    if (c.inputs.size() > kMaxInputs || c.program.body.size() > kMaxInstructions) continue;
    Origins origins = reader.origins;
    origins.insert(producer->origins.begin(), producer->origins.end());
    const std::vector<TensorId> old = reader.outputs;
    const std::vector<DType> types = outer.types;
    const std::vector<TensorId> fresh = net.add(Pointwise{c.program, types}, c.inputs, std::move(origins), body);
    for (size_t k = 0; k < old.size(); ++k) {
      if (net.type(old[k], body).shape != net.type(fresh[k], body).shape) return false;
      net.bodies[body].tensors[fresh[k]].type.layout = net.type(old[k], body).layout;
      net.replace(old[k], fresh[k], body);
    }
    net.erase(id, body);
    return true;
  }
  return false;
}

bool fuse_one(Network& net, int body) {
  const std::vector<bool> constant = constant_tensors(net.bodies[body]);
  bool changed = false;
  for (LayerId id : live(net, body)) {
    const Layer& layer = net.bodies[body].layers[id];
    if (!std::holds_alternative<Pointwise>(layer.op) || constant[layer.outputs[0]]) continue;
    const bool used = std::any_of(layer.outputs.begin(), layer.outputs.end(), [&](TensorId t) { return net.uses(t, body) > 0; });
    if (used) changed |= fuse_into(net, id, constant, body);
  }
  return changed;
}

}  // namespace

bool fuse_pointwise(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    while (fuse_one(net, body)) {
      any = true;
      net.compact();  // dead readers would count as users of what they read
    }
  }
  return any;
}

}  // namespace tuyere
