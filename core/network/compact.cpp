// SPDX-License-Identifier: Apache-2.0
// compact(): what nobody reads goes away - layers, tensors, bodies, constants - and the rest is renumbered.
#include <algorithm>

#include "core/network/internal.h"

namespace tuyere {
namespace {

std::vector<bool> live_layers(const Body& body) {
  std::vector<bool> live(body.layers.size(), false);
  std::vector<TensorId> todo = body.outputs;
  for (size_t k = 0; k < body.tensors.size(); ++k)
    if (body.tensors[k].observed) todo.push_back(static_cast<TensorId>(k));
  while (!todo.empty()) {
    const LayerId layer = body.tensors[todo.back()].producer;
    todo.pop_back();
    if (layer == kNone || live[layer] || body.layers[layer].dead) continue;
    live[layer] = true;
    todo.insert(todo.end(), body.layers[layer].inputs.begin(), body.layers[layer].inputs.end());
  }
  return live;
}

std::vector<bool> live_tensors(const Body& body, const std::vector<bool>& layers) {
  std::vector<bool> live(body.tensors.size(), false);
  const auto mark = [&](const std::vector<TensorId>& ids) {
    for (TensorId id : ids) live[id] = true;
  };
  mark(body.inputs);
  mark(body.outputs);
  for (size_t k = 0; k < layers.size(); ++k) {
    if (!layers[k]) continue;
    mark(body.layers[k].inputs);
    mark(body.layers[k].outputs);
  }
  for (size_t k = 0; k < live.size(); ++k)
    if (body.tensors[k].observed) live[k] = true;
  return live;
}

/// Keeps the elements of `items` that are live; returns old number -> new number (kNone when gone).
template <class T>
std::vector<int32_t> keep(std::vector<T>& items, const std::vector<bool>& live) {
  std::vector<int32_t> moved(items.size(), kNone);
  std::vector<T> kept;
  for (size_t k = 0; k < items.size(); ++k) {
    if (!live[k]) continue;
    moved[k] = static_cast<int32_t>(kept.size());
    kept.push_back(std::move(items[k]));
  }
  items = std::move(kept);
  return moved;
}

bool compact_body(Body& body) {
  const size_t before = body.layers.size() + body.tensors.size();
  const std::vector<bool> live = live_layers(body);
  const std::vector<int32_t> tensors = keep(body.tensors, live_tensors(body, live));
  const std::vector<int32_t> layers = keep(body.layers, live);
  const auto renumber = [&](std::vector<TensorId>& ids) {
    for (TensorId& id : ids) id = tensors[id];
  };
  renumber(body.inputs);
  renumber(body.outputs);
  for (Layer& layer : body.layers) {
    renumber(layer.inputs);
    renumber(layer.outputs);
  }
  for (Tensor& tensor : body.tensors)
    if (tensor.producer != kNone) tensor.producer = layers[tensor.producer];
  return body.layers.size() + body.tensors.size() != before;
}

bool drop_bodies(Network& network) {
  std::vector<bool> live(network.bodies.size(), false);
  std::vector<int64_t> todo{0};
  while (!todo.empty()) {
    const int64_t id = todo.back();
    todo.pop_back();
    if (live[id]) continue;
    live[id] = true;
    for (const Layer& layer : network.bodies[id].layers)
      for (int64_t next : referenced_bodies(layer.op)) todo.push_back(next);
  }
  const size_t before = network.bodies.size();
  const std::vector<int32_t> moved = keep(network.bodies, live);
  for (Body& body : network.bodies)
    for (Layer& layer : body.layers)
      for (int64_t* id : referenced_bodies(layer.op)) *id = moved[*id];
  return network.bodies.size() != before;
}

bool drop_constants(Network& network) {
  std::vector<bool> live(network.constants.size(), false);
  for (const Body& body : network.bodies)
    for (const Tensor& tensor : body.tensors)
      if (tensor.constant >= 0) live[tensor.constant] = true;
  const size_t before = network.constants.size();
  const std::vector<int32_t> moved = keep(network.constants, live);
  for (Body& body : network.bodies)
    for (Tensor& tensor : body.tensors)
      if (tensor.constant >= 0) tensor.constant = moved[tensor.constant];
  return network.constants.size() != before;
}

}  // namespace

std::vector<int64_t*> referenced_bodies(Op& op) {
  if (If* o = std::get_if<If>(&op)) return {&o->then_body, &o->else_body};
  if (While* o = std::get_if<While>(&op)) return {&o->cond_body, &o->loop_body};
  if (Call* o = std::get_if<Call>(&op)) return {&o->body};
  return {};
}

std::vector<int64_t> referenced_bodies(const Op& op) {
  if (const If* o = std::get_if<If>(&op)) return {o->then_body, o->else_body};
  if (const While* o = std::get_if<While>(&op)) return {o->cond_body, o->loop_body};
  if (const Call* o = std::get_if<Call>(&op)) return {o->body};
  return {};
}

bool Network::compact() {
  bool changed = false;
  for (Body& body : bodies) changed |= compact_body(body);
  changed |= drop_bodies(*this);
  changed |= drop_constants(*this);
  for (size_t k = 0; k < bodies.size(); ++k) sort(static_cast<int>(k));
  return changed;
}

}  // namespace tuyere
