// SPDX-License-Identifier: Apache-2.0
// Rewriting. Every method leaves producers and uses consistent.
#include <algorithm>
#include <queue>

#include "common/error.h"
#include "core/network/internal.h"

namespace tuyere {

void Network::replace(TensorId from, TensorId to, int body) {
  Body& b = bodies[body];
  if (from == to) return;
  Tensor &old = b.tensors[from], &now = b.tensors[to];
  INTERNAL_CHECK(old.type.dtype == now.type.dtype && old.type.shape == now.type.shape,
                 "'" << old.name << "' of type " << tuyere::str(old.type) << " cannot be replaced by '" << now.name << "' of type " << tuyere::str(now.type));
  const bool returned = std::find(b.outputs.begin(), b.outputs.end(), from) != b.outputs.end();
  const bool fixed_name = now.producer == kNone || now.observed || std::find(b.outputs.begin(), b.outputs.end(), to) != b.outputs.end();
  for (LayerId k = 0; k < static_cast<LayerId>(b.layers.size()); ++k)
    if (k != now.producer && !b.layers[k].dead) std::replace(b.layers[k].inputs.begin(), b.layers[k].inputs.end(), from, to);
  const bool promised = std::find(b.outputs.begin(), b.outputs.end(), to) != b.outputs.end();
  if (returned && !promised && now.producer != kNone) now.type.layout = old.type.layout;  // the caller counts on it
  std::replace(b.outputs.begin(), b.outputs.end(), from, to);
  if ((returned || old.observed) && !fixed_name && old.producer != kNone) std::swap(old.name, now.name);  // people look for outputs by name
  now.observed |= std::exchange(old.observed, false);
  if (old.producer != kNone && now.producer != kNone && old.producer != now.producer) {
    const Origins& origins = b.layers[old.producer].origins;
    b.layers[now.producer].origins.insert(origins.begin(), origins.end());
  }
}

void Network::set_input(LayerId layer, int slot, TensorId tensor, int body) {
  Body& b = bodies[body];
  INTERNAL_CHECK(layer >= 0 && layer < static_cast<LayerId>(b.layers.size()) && !b.layers[layer].dead, "layer " << layer << " does not exist");
  INTERNAL_CHECK(slot >= 0 && slot < static_cast<int>(b.layers[layer].inputs.size()), "layer " << layer << " has no input " << slot);
  INTERNAL_CHECK(tensor >= 0 && tensor < static_cast<TensorId>(b.tensors.size()), "tensor " << tensor << " does not exist");
  b.layers[layer].inputs[slot] = tensor;
}

void Network::erase(LayerId layer, int body) {
  Body& b = bodies[body];
  INTERNAL_CHECK(layer >= 0 && layer < static_cast<LayerId>(b.layers.size()), "layer " << layer << " does not exist");
  for (TensorId out : b.layers[layer].outputs) INTERNAL_CHECK(uses(out, body) == 0, "'" << b.tensors[out].name << "' is still used");
  b.layers[layer].dead = true;
}

std::vector<LayerId> topological_order(const Body& body) {
  const size_t count = body.layers.size();
  std::vector<int> waiting(count, 0);
  std::vector<std::vector<LayerId>> readers(count);
  std::priority_queue<LayerId, std::vector<LayerId>, std::greater<>> ready;
  size_t live = 0;
  LayerId hosted = kNone;
  for (size_t k = 0; k < count; ++k) {
    if (body.layers[k].dead) continue;
    ++live;
    if (std::holds_alternative<HostCall>(body.layers[k].op)) {  // in the order of the program: they may draw random numbers
      if (hosted != kNone) {
        readers[hosted].push_back(static_cast<LayerId>(k));
        ++waiting[k];
      }
      hosted = static_cast<LayerId>(k);
    }
    for (TensorId id : body.layers[k].inputs) {
      const LayerId producer = body.tensors[id].producer;
      if (producer == kNone || body.layers[producer].dead) continue;
      readers[producer].push_back(static_cast<LayerId>(k));
      ++waiting[k];
    }
    if (waiting[k] == 0) ready.push(static_cast<LayerId>(k));
  }
  std::vector<LayerId> order;
  while (!ready.empty()) {
    const LayerId next = ready.top();
    ready.pop();
    order.push_back(next);
    for (LayerId reader : readers[next])
      if (--waiting[reader] == 0) ready.push(reader);
  }
  if (order.size() != live) {
    const auto stuck = std::find_if(waiting.begin(), waiting.end(), [](int w) { return w > 0; });
    INTERNAL_CHECK(false, layer_frame(body, body.layers[stuck - waiting.begin()]) << ": depends on itself");
  }
  return order;
}

void Network::sort(int body) {
  Body& b = bodies[body];
  std::vector<LayerId> order = topological_order(b);
  for (size_t k = 0; k < b.layers.size(); ++k)
    if (b.layers[k].dead) order.push_back(static_cast<LayerId>(k));  // last, so that they are in nobody's way
  if (std::is_sorted(order.begin(), order.end())) return;
  std::vector<Layer> layers;
  std::vector<LayerId> moved(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    moved[order[k]] = static_cast<LayerId>(k);
    layers.push_back(std::move(b.layers[order[k]]));
  }
  b.layers = std::move(layers);
  for (Tensor& tensor : b.tensors)
    if (tensor.producer != kNone) tensor.producer = moved[tensor.producer];
}

}  // namespace tuyere
