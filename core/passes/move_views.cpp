// SPDX-License-Identifier: Apache-2.0
// matmul(permute(x, p), w) => permute(matmul(x, w), p)              w a matrix, p leaves the last dimension: rows keep one stride
// reshape(permute(reshape(x))) => permute(reshape(x))               when the outer reshape only splits dimensions, so that what the inner one
//                                                                   merged may stay apart: heads of sequence-first attention, without a copy
// See tests/unit/passes/move_views.cpp
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

bool below_matmul(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  const auto* op = std::get_if<MatMul>(&layer.op);
  if (!op || op->trans_a || layer.outputs.size() != 1 || net.type(layer.inputs[1], body).shape.size() != 2) return false;
  const TensorId rows = layer.inputs[0];
  const auto* view = made_by<Permute>(net, rows, body);
  if (!view || net.tensor(rows, body).observed || view->perm.back() != static_cast<int64_t>(view->perm.size()) - 1) return false;
  const int rank = static_cast<int>(view->perm.size());
  for (size_t k = 2; k < layer.inputs.size(); ++k)
    if (!varies_along(net.type(layer.inputs[k], body).shape, rank, rank - 1)) return false;
  const Permute permute = *view;
  std::vector<TensorId> inputs = layer.inputs;
  inputs[0] = net.producer(rows, body)->inputs[0];
  const TensorId product = net.add1(layer.op, inputs, layer.origins, body);
  net.replace(layer.outputs[0], net.add1(permute, {product}, layer.origins, body), body);
  return true;
}

/// Per dimension of `from` the dimensions of `to` that it is split into; nothing when `to` merges some.
std::optional<std::vector<Shape>> splits(const Shape& from, const Shape& to) {
  std::vector<Shape> groups(from.size());
  size_t next = 0;
  for (size_t d = 0; d < from.size(); ++d) {
    for (Dim product = 1; product != from[d]; product = product * groups[d].back()) {
      if (next == to.size()) return std::nullopt;
      groups[d].push_back(to[next++]);
    }
  }
  for (; next < to.size(); ++next) {
    if (!to[next].is_const(1)) return std::nullopt;
    groups.back().push_back(1);
  }
  return groups;
}

bool split_early(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];
  if (!std::holds_alternative<Reshape>(layer.op)) return false;
  const auto* view = made_by<Permute>(net, layer.inputs[0], body);
  if (!view || view->perm.empty() || net.tensor(layer.inputs[0], body).observed) return false;
  const TensorId source = net.producer(layer.inputs[0], body)->inputs[0];
  if (!made_by<Reshape>(net, source, body)) return false;
  const auto groups = splits(net.type(layer.inputs[0], body).shape, net.type(layer.outputs[0], body).shape);
  if (!groups) return false;
  const std::vector<int64_t> perm = view->perm;
  std::vector<const Shape*> parts(perm.size());
  for (size_t k = 0; k < perm.size(); ++k) parts[static_cast<size_t>(perm[k])] = &(*groups)[k];
  Shape shape;
  std::vector<int64_t> begin;
  for (const Shape* part : parts) {
    begin.push_back(static_cast<int64_t>(shape.size()));
    shape.insert(shape.end(), part->begin(), part->end());
  }
  Permute permute;
  for (size_t k = 0; k < perm.size(); ++k)
    for (size_t j = 0; j < (*groups)[k].size(); ++j) permute.perm.push_back(begin[static_cast<size_t>(perm[k])] + static_cast<int64_t>(j));
  const TensorId apart = net.add1(Reshape{shape}, {source}, layer.origins, body);
  net.replace(layer.outputs[0], net.add1(permute, {apart}, layer.origins, body), body);
  return true;
}

}  // namespace

bool move_views(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const std::vector<TensorId>& outputs = net.bodies[body].layers[id].outputs;
      if (outputs.empty() || constant[outputs[0]] || net.uses(outputs[0], body) == 0) continue;
      if (below_matmul(net, id, body) || split_early(net, id, body)) any = true;
    }
  }
  return any;
}

}  // namespace tuyere
