// SPDX-License-Identifier: Apache-2.0
// concat(a, concat(b, c), d) => concat(a, b, c, d)               along one axis; nothing else reads the inner one
// slice(concat(a, b, c), what lies in b) => slice(b, the same)   along the axis of the concat
// concat(x[a:b], x[b:c], d) => concat(x[a:c], d)                 along that axis: what is split and put together again (the halves of CSP networks)
// See tests/unit/passes/concats.cpp
#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

bool flatten(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  const auto* op = std::get_if<Concat>(&layer.op);
  if (!op) return false;
  std::vector<TensorId> parts;
  Origins origins = layer.origins;
  for (TensorId part : layer.inputs) {
    const auto* inner = made_by<Concat>(net, part, body);
    if (!inner || *inner != *op || sole_consumer(net, part, body) != id) {
      parts.push_back(part);
      continue;
    }
    const Layer& producer = *net.producer(part, body);
    parts.insert(parts.end(), producer.inputs.begin(), producer.inputs.end());
    origins.insert(producer.origins.begin(), producer.origins.end());
  }
  if (parts == layer.inputs) return false;
  net.replace(layer.outputs[0], net.add1(*op, parts, origins, body), body);
  return true;
}

/// Whether a <= b whatever the symbols are.
bool at_most(const Dim& a, const Dim& b) {
  const Dim gap = b - a;
  return gap.is_const() && gap.value() >= 0;
}

bool slice_part(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];
  const auto* slice = std::get_if<Slice>(&layer.op);
  const auto* concat = slice ? made_by<Concat>(net, layer.inputs[0], body) : nullptr;
  if (!concat || concat->axis != slice->axis) return false;
  Dim first = 0;
  for (TensorId part : net.producer(layer.inputs[0], body)->inputs) {
    const Dim last = first + net.type(part, body).shape[slice->axis];
    if (at_most(first, slice->start) && at_most(slice->end, last)) {
      Slice own = *slice;
      own.start = slice->start - first;
      own.end = slice->end - first;
      net.replace(layer.outputs[0], net.add1(own, {part}, layer.origins, body), body);
      return true;
    }
    first = last;
  }
  return false;
}

/// The tensor that entries start to end of `whole` are, which is itself where they are all.
TensorId entries(Network& net, TensorId whole, const Slice& slice, Origins origins, int body) {
  const bool all = slice.start.is_const(0) && slice.end == net.type(whole, body).shape[slice.axis];
  return all ? whole : net.add1(slice, {whole}, std::move(origins), body);
}

bool join_slices(Network& net, LayerId id, int body) {
  const Layer layer = net.bodies[body].layers[id];
  const auto* op = std::get_if<Concat>(&layer.op);
  if (!op) return false;
  std::vector<TensorId> parts;
  for (TensorId part : layer.inputs) {
    const auto* next = made_by<Slice>(net, part, body);
    const auto* last = parts.empty() ? nullptr : made_by<Slice>(net, parts.back(), body);
    const bool adjoin = next && last && next->axis == op->axis && last->axis == op->axis && next->step == 1 && last->step == 1 && next->start == last->end;
    if (!adjoin || net.producer(part, body)->inputs[0] != net.producer(parts.back(), body)->inputs[0]) {
      parts.push_back(part);
      continue;
    }
    Slice both = *last;
    both.end = next->end;
    parts.back() = entries(net, net.producer(part, body)->inputs[0], both, layer.origins, body);
  }
  if (parts.size() == layer.inputs.size()) return false;
  net.replace(layer.outputs[0], parts.size() == 1 ? parts[0] : net.add1(*op, parts, layer.origins, body), body);
  return true;
}

}  // namespace

bool concats(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    for (bool changed = true; changed; any |= changed) {
      changed = false;
      for (LayerId id : live(net, body)) {
        if (net.uses(net.bodies[body].layers[id].outputs[0], body) == 0) continue;
        changed |= flatten(net, id, body) || join_slices(net, id, body) || slice_part(net, id, body);
      }
      if (changed) net.sort(body);
    }
  }
  return any;
}

}  // namespace tuyere
