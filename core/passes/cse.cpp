// SPDX-License-Identifier: Apache-2.0
// f(x) and f(x) => one f(x)            also equal literals of the same type
// See tests/unit/passes/cse.cpp
#include <cstring>
#include <map>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

bool merge_literals(Network& net, int body) {
  bool changed = false;
  std::map<std::string, TensorId> known;
  const size_t count = net.bodies[body].tensors.size();
  for (TensorId id = 0; id < static_cast<TensorId>(count); ++id) {
    const Tensor& tensor = net.tensor(id, body);
    if (tensor.constant < 0) continue;
    const Constant& constant = net.constants[tensor.constant];
    if (constant.param || !constant.data || constant.data->size() > 4096) continue;
    std::string key = str(tensor.type);
    key.append(reinterpret_cast<const char*>(constant.data->data()), constant.data->size());
    const auto [it, fresh] = known.emplace(std::move(key), id);
    if (fresh || net.uses(id, body) == 0) continue;
    net.replace(id, it->second, body);
    changed = true;
  }
  return changed;
}

std::string key_of(const Network& net, const Layer& layer, int body) {
  std::string key = str(layer.op);
  for (TensorId id : layer.inputs) key += " " + std::to_string(id);
  for (TensorId id : layer.outputs) key += " " + str(net.type(id, body));
  return key;
}

}  // namespace

bool cse(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    changed |= merge_literals(net, body);
    net.sort(body);  // one walk suffices: inputs are merged before their readers are looked at
    std::map<std::string, LayerId> known;
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (group(layer.op) == OpGroup::control) continue;
      const auto [it, fresh] = known.emplace(key_of(net, layer, body), id);
      if (fresh) continue;
      const std::vector<TensorId> from = layer.outputs, to = net.bodies[body].layers[it->second].outputs;
      for (size_t k = 0; k < from.size(); ++k) {
        if (net.uses(from[k], body) == 0) continue;
        net.replace(from[k], to[k], body);
        changed = true;
      }
    }
  }
  return changed;
}

}  // namespace tuyere
