// SPDX-License-Identifier: Apache-2.0
// matmul(permute(x, p), w) => permute(matmul(x, w), p)              w a matrix, p leaves the last dimension: rows keep one stride
// reshape(permute(reshape(x))) => permute(reshape(x))               when the outer reshape only splits dimensions, so that what the inner one
//                                                                   merged may stay apart: heads of sequence-first attention, without a copy
// permute(reshape(matmul(reshape(x), w))) => matmul(reshape(permute(x)), w)    the permutation is of rows and x is attention's (or a permutation of it), which
//                                                                   writes any order of memory: sequence-first attention in a batch-first model
// matmul(permute(x, p), w) => permute(reshape(matmul(w^T, reshape(x))), p)     on the CPU, when products made x and p brings a dimension of a few entries to
//                                                                   the end: linear layers over heads, before and after a softmax along the scores
// See tests/unit/passes/move_views.cpp
#include <algorithm>
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

/// Whether products wrote the memory of `id`, or of what it is computed from entry by entry or row by row.
bool is_of_products(const Network& net, TensorId id, int body) {
  for (const Layer* layer = net.producer(id, body); layer; layer = net.producer(id, body)) {
    if (std::holds_alternative<MatMul>(layer->op)) return true;
    if (layer->inputs.empty() || !is_any_of<Pointwise, Softmax, Reshape, Permute>(layer->op)) return false;
    id = layer->inputs[0];
  }
  return false;
}

/// Dimension `moved` goes behind all others.
bool moves_to_the_end(const std::vector<int64_t>& perm, int64_t moved) {
  for (size_t k = 0; k + 1 < perm.size(); ++k)
    if (perm[k] != static_cast<int64_t>(k) + (static_cast<int64_t>(k) >= moved ? 1 : 0)) return false;
  return true;
}

/// The product over a dimension where it lies: readers in the order of x need no copy, and what lies behind that dimension stays side by side.
bool across_rows(Network& net, LayerId id, int body) {
  constexpr int64_t kFew = 16;
  const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  const auto* op = std::get_if<MatMul>(&layer.op);
  if (!op || op->trans_a || layer.outputs.size() != 1) return false;
  const Shape w = net.type(layer.inputs[1], body).shape, out = net.type(layer.outputs[0], body).shape;
  const auto* view = made_by<Permute>(net, layer.inputs[0], body);
  if (!view || net.tensor(layer.inputs[0], body).observed || w.size() != 2) return false;
  const auto few = [](const Dim& size) { return size.is_const() && size.value() <= kFew; };
  const Permute permute = *view;
  const int64_t moved = permute.perm.back(), last = static_cast<int64_t>(permute.perm.size()) - 1;
  if (moved == last || !few(w[0]) || !few(w[1]) || !moves_to_the_end(permute.perm, moved)) return false;
  const TensorId x = net.producer(layer.inputs[0], body)->inputs[0];
  if (!is_of_products(net, x, body)) return false;
  const auto extras = layer.inputs.begin() + 2;
  if (!std::all_of(extras, layer.inputs.end(),
                   [&](TensorId extra) { return is_vector_along(net.type(extra, body).shape, static_cast<int>(out.size()), static_cast<int>(last)); }))
    return false;
  const Shape before = net.type(x, body).shape;
  Shape rows(before.begin(), before.begin() + moved + 1);
  rows.push_back(numel(Shape(before.begin() + moved + 1, before.end())));
  Shape after = before;
  after[static_cast<size_t>(moved)] = out.back();
  MatMul product = *op;
  product.trans_a = !op->trans_b;
  product.trans_b = false;
  std::vector<TensorId> inputs{layer.inputs[1], net.add1(Reshape{rows}, {x}, layer.origins, body)};
  for (size_t k = 2; k < layer.inputs.size(); ++k) inputs.push_back(net.add1(Reshape{{out.back(), 1}}, {layer.inputs[k]}, layer.origins, body));
  const TensorId y = net.add1(std::move(product), inputs, layer.origins, body);
  net.replace(layer.outputs[0], net.add1(permute, {net.add1(Reshape{after}, {y}, layer.origins, body)}, layer.origins, body), body);
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

/// Permute{perm} of a tensor whose dimensions stand for groups of `groups`.
Permute expanded(const std::vector<int64_t>& perm, const std::vector<Shape>& groups) {
  std::vector<int64_t> begin{0};
  for (const Shape& group : groups) begin.push_back(begin.back() + static_cast<int64_t>(group.size()));
  Permute result;
  for (int64_t d : perm)
    for (int64_t k = begin[static_cast<size_t>(d)]; k < begin[static_cast<size_t>(d) + 1]; ++k) result.perm.push_back(k);
  return result;
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
  std::vector<Shape> parts(perm.size());
  for (size_t k = 0; k < perm.size(); ++k) parts[static_cast<size_t>(perm[k])] = (*groups)[k];
  Shape shape;
  for (const Shape& part : parts) shape.insert(shape.end(), part.begin(), part.end());
  const TensorId apart = net.add1(Reshape{shape}, {source}, layer.origins, body);
  net.replace(layer.outputs[0], net.add1(expanded(perm, parts), {apart}, layer.origins, body), body);
  return true;
}

/// Attention's result or a permutation of it.
bool takes_any_order(const Network& net, TensorId id, int body) {
  const auto* permute = made_by<Permute>(net, id, body);
  return made_by<Attention>(net, permute ? net.producer(id, body)->inputs[0] : id, body) != nullptr;
}

bool above_matmul(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];
  const auto* view = std::get_if<Permute>(&layer.op);
  if (!view || view->perm.size() < 3 || view->perm.back() != static_cast<int64_t>(view->perm.size()) - 1) return false;
  const TensorId apart = layer.inputs[0];
  if (!made_by<Reshape>(net, apart, body) || sole_consumer(net, apart, body) != id) return false;
  const TensorId product = net.producer(apart, body)->inputs[0];
  const auto* op = made_by<MatMul>(net, product, body);
  if (!op || op->trans_a || sole_consumer(net, product, body) == kNone) return false;
  const Layer matmul = *net.producer(product, body);
  const int rank = static_cast<int>(net.type(product, body).shape.size());
  if (net.type(matmul.inputs[1], body).shape.size() != 2 || net.type(apart, body).shape.back() != net.type(product, body).shape.back()) return false;
  for (size_t k = 2; k < matmul.inputs.size(); ++k)
    if (!varies_along(net.type(matmul.inputs[k], body).shape, rank, rank - 1)) return false;
  if (!made_by<Reshape>(net, matmul.inputs[0], body)) return false;
  const TensorId source = net.producer(matmul.inputs[0], body)->inputs[0];
  if (!takes_any_order(net, source, body)) return false;
  Shape rows = net.type(apart, body).shape;
  rows.back() = net.type(matmul.inputs[0], body).shape.back();
  const auto groups = splits(rows, net.type(source, body).shape);
  if (!groups) return false;
  Shape shape;
  for (int64_t d : view->perm) shape.push_back(rows[static_cast<size_t>(d)]);
  std::vector<TensorId> inputs = matmul.inputs;
  const TensorId turned = net.add1(expanded(view->perm, *groups), {source}, layer.origins, body);
  inputs[0] = net.add1(Reshape{shape}, {turned}, layer.origins, body);
  for (size_t k = 2; k < inputs.size(); ++k)  // a vector broadcasts against any rows
    if (const Shape& extra = net.type(inputs[k], body).shape; extra.size() > 1) inputs[k] = net.add1(Reshape{{extra.back()}}, {inputs[k]}, layer.origins, body);
  net.replace(layer.outputs[0], net.add1(matmul.op, inputs, matmul.origins, body), body);
  return true;
}

}  // namespace

bool move_views(Network& net, const PassContext& context) {
  const bool on_gpu = context.target.is_cuda();
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const std::vector<TensorId>& outputs = net.bodies[body].layers[id].outputs;
      if (outputs.empty() || constant[outputs[0]] || net.uses(outputs[0], body) == 0) continue;
      if (below_matmul(net, id, body) || split_early(net, id, body) || above_matmul(net, id, body) || (!on_gpu && across_rows(net, id, body))) any = true;
    }
  }
  return any;
}

}  // namespace tuyere
