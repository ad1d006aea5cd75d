// SPDX-License-Identifier: Apache-2.0
// matmul(x, w, matmul(x, v)) epilogue={f(i0, i1)} => gated_matmul(x, w, v) epilogue={f(i0, i1)}
// On Hopper, where products have any epilogue: the gate of a gated unit never goes through memory, and its rows are read once. Weights stay as they are, so
// that they can be shared. See tests/unit/passes/fuse_gates.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// A product that can be one of two.
const MatMul* product(const Network& net, const Layer& layer, int body, const PassContext& context) {
  const auto* matmul = std::get_if<MatMul>(&layer.op);
  return matmul && !layer.dead && !matmul->trans_a && layer.outputs.size() == 1 && is_hopper_product(net, layer, body, context) ? matmul : nullptr;
}

/// main's epilogue with `gate` computed by inner's: inputs both products, then what either reads.
Composed joined(const Network& net, const Layer& main, const Layer& inner, TensorId gate, int body) {
  std::vector<TensorId> outer_inputs{main.outputs[0]}, inner_inputs{gate};
  outer_inputs.insert(outer_inputs.end(), main.inputs.begin() + 2, main.inputs.end());
  inner_inputs.insert(inner_inputs.end(), inner.inputs.begin() + 2, inner.inputs.end());
  Program formula = std::get<MatMul>(inner.op).epilogue;
  if (formula.empty()) formula.inputs = {DType::F32}, formula.outputs = {0};
  const Composed c = compose_through(std::get<MatMul>(main.op).epilogue, outer_inputs, gate, formula, inner_inputs, 0, net.type(gate, body).dtype, 1);
  const auto first = static_cast<int>(std::find(c.inputs.begin(), c.inputs.end(), main.outputs[0]) - c.inputs.begin());
  std::vector<int> order{first, 0};
  for (int k = 1; k < static_cast<int>(c.inputs.size()); ++k)
    if (k != first) order.push_back(k);
  Composed result{permute_inputs(c.program, order), {}};
  for (int k : order) result.inputs.push_back(c.inputs[static_cast<size_t>(k)]);
  return result;
}

/// `id`: the product with the joining epilogue.
bool fuse_gate(Network& net, LayerId id, int body, const PassContext& context) {
  const Layer main = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  const MatMul* op = product(net, main, body, context);
  if (!op) return false;
  for (size_t slot = 2; slot < main.inputs.size(); ++slot) {
    const TensorId gate = main.inputs[slot];
    const LayerId other = net.tensor(gate, body).producer;
    if (other == kNone || sole_consumer(net, gate, body) != id) continue;
    const Layer inner = net.bodies[body].layers[other];
    const MatMul* second = product(net, inner, body, context);
    if (!second || inner.inputs[0] != main.inputs[0] || second->trans_b != op->trans_b) continue;
    if (net.type(inner.inputs[1], body).shape != net.type(main.inputs[1], body).shape) continue;
    if (net.type(gate, body).shape != net.type(main.outputs[0], body).shape) continue;
    const Composed c = joined(net, main, inner, gate, body);
    std::vector<TensorId> inputs{main.inputs[0], main.inputs[1], inner.inputs[1]};
    inputs.insert(inputs.end(), c.inputs.begin() + 2, c.inputs.end());
    Origins origins = main.origins;
    origins.insert(inner.origins.begin(), inner.origins.end());
    const GatedMatMul gated{.trans_b = op->trans_b, .type = op->type, .epilogue = c.program};
    net.replace(main.outputs[0], net.add1(gated, std::move(inputs), std::move(origins), body), body);
    net.erase(id, body);
    net.erase(other, body);
    return true;
  }
  return false;
}

}  // namespace

bool fuse_gates(Network& net, const PassContext& context) {
  if (!context.target.is_cuda() || !is_hopper(context.target) || !context.own_kernels) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    for (LayerId id : live(net, body)) changed |= fuse_gate(net, id, body, context);
  }
  return changed;
}

}  // namespace tuyere
