// SPDX-License-Identifier: Apache-2.0
// x = f(a...), y = g(x, b...) => x, y = (f, g . f)(a..., b...)          x has other readers, or is an output: it is written, but not read again for y
// Of one shape, and no b depends on x. Comes after the fusions that leave no x at all.
// See tests/unit/passes/fuse_results.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr size_t kMaxTensors = 8, kMaxProgram = 64;  // of one kernel

const Program& program_of(const Layer& layer) { return std::get<Pointwise>(layer.op).program; }

bool is_formula(const Layer* layer) { return layer && !layer->dead && std::holds_alternative<Pointwise>(layer->op) && !program_of(*layer).empty(); }

bool contains(const std::vector<TensorId>& ids, TensorId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

/// The pair of a producer and a reader of some of its outputs.
class Results {
 public:
  Results(Network& net, LayerId producer, LayerId reader, int body) : net_(net), body_(body), f_(producer), g_(reader) {}

  bool fit() const {
    const TensorType& first = net_.type(layer(f_).outputs[0], body_);
    for (LayerId id : {f_, g_})
      for (TensorId out : layer(id).outputs)
        if (net_.type(out, body_).shape != first.shape || net_.type(out, body_).layout != first.layout || net_.tensor(out, body_).observed) return false;
    const auto& inputs = layer(g_).inputs;
    return std::all_of(inputs.begin(), inputs.end(), [&](TensorId in) { return contains(layer(f_).outputs, in) || !depends_on(net_, in, f_, body_); });
  }

  /// The layer with the results of both; false when it would be too large for one kernel.
  bool fuse() {
    const Composed all = join({outputs_of_f(), g_of_f()});
    std::vector<TensorId> old = layer(f_).outputs;
    old.insert(old.end(), layer(g_).outputs.begin(), layer(g_).outputs.end());
    if (all.inputs.size() + old.size() > kMaxTensors || all.program.body.size() > kMaxProgram) return false;
    Pointwise op{all.program, {}};
    for (TensorId id : old) op.types.push_back(net_.type(id, body_).dtype);
    Origins origins = layer(f_).origins;
    origins.insert(layer(g_).origins.begin(), layer(g_).origins.end());
    const std::vector<TensorId> fresh = net_.add(std::move(op), all.inputs, std::move(origins), body_);
    for (size_t k = 0; k < old.size(); ++k) {
      net_.bodies[body_].tensors[fresh[k]].type.layout = net_.type(old[k], body_).layout;
      net_.replace(old[k], fresh[k], body_);
    }
    net_.erase(f_, body_);
    net_.erase(g_, body_);
    return true;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }

  Composed outputs_of_f() const { return {program_of(layer(f_)), layer(f_).inputs}; }

  Composed g_of_f() const {
    Composed g{program_of(layer(g_)), layer(g_).inputs};
    const Layer& f = layer(f_);
    for (size_t k = 0; k < f.outputs.size(); ++k)
      if (contains(g.inputs, f.outputs[k]))
        g = compose_through(g.program, g.inputs, f.outputs[k], program_of(f), f.inputs, static_cast<int>(k), net_.type(f.outputs[k], body_).dtype);
    return g;
  }

  Network& net_;
  int body_;
  LayerId f_, g_;
};

bool fuse_first(Network& net, int body) {
  const std::vector<bool> constant = constant_tensors(net.bodies[body]);
  for (LayerId reader : live(net, body)) {
    const Layer& g = net.bodies[body].layers[reader];
    if (!is_formula(&g) || constant[g.outputs[0]]) continue;
    for (TensorId via : g.inputs) {
      if (constant[via] || !is_formula(net.producer(via, body))) continue;
      Results results(net, net.tensor(via, body).producer, reader, body);
      if (results.fit() && results.fuse()) return true;
    }
  }
  return false;
}

}  // namespace

bool fuse_results(Network& net, const PassContext&) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body)
    while (fuse_first(net, body)) any = true, net.compact();
  return any;
}

}  // namespace tuyere
