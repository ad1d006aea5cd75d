// SPDX-License-Identifier: Apache-2.0
// f(x, concat(g(x[b]), h(x[a])), c...) => concat(f(x[a], g(x[b]), c[a]...), f(x[b], h(x[a]), c[b]...))        a, b: the halves of the last dimensions
// The rotary embedding of transformers: x * cos + concat(-x[b], x[a]) * sin. Both halves are outputs of one pointwise layer, which reads every element once
// and writes where the concat wants them; before, the concat was two copies and x was read twice.
// f, g and h are pointwise (g and h may be nothing); c varies along the dimension or is broadcast over it.
// See tests/unit/passes/split_concat.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr size_t kMaxParts = 12;

class Splitter {
 public:
  Splitter(Network& net, LayerId layer, int body) : net_(net), body_(body), id_(layer), here_(net.bodies[body].layers[layer]) {}

  /// Whether input `slot` is a concat of what the layer itself reads.
  bool matches(size_t slot) {
    whole_ = here_.inputs[slot];
    const auto* concat = made_by<Concat>(net_, whole_, body_);
    if (!concat || shape(whole_) != shape(here_.outputs[0]) || sole_consumer(net_, whole_, body_) != id_) return false;
    parts_ = net_.producer(whole_, body_)->inputs;
    axis_ = static_cast<int>(concat->axis < 0 ? concat->axis + static_cast<int64_t>(shape(whole_).size()) : concat->axis);
    if (parts_.size() < 2 || parts_.size() > 4) return false;
    for (TensorId part : parts_) {
      if (!shape(part)[axis_].is_const() || shape(part) != shape(parts_[0]) || !from_the_same(part)) return false;
    }
    return true;
  }

  bool apply() {
    std::vector<Composed> halves;
    int64_t start = 0;
    for (TensorId part : parts_) {
      const int64_t end = start + shape(part)[axis_].value();
      halves.push_back(half(part, start, end));
      start = end;
    }
    const Composed all = join(halves);
    if (all.inputs.size() > kMaxParts) return false;
    const std::vector<DType> types(parts_.size(), std::get<Pointwise>(here_.op).types[0]);
    const std::vector<TensorId> outputs = net_.add(Pointwise{all.program, types}, all.inputs, here_.origins, body_);
    net_.replace(here_.outputs[0], net_.add1(Concat{axis_}, outputs, here_.origins, body_), body_);
    net_.erase(id_, body_);
    return true;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  /// A slice, or a pointwise layer with one reader on slices, of a tensor the layer reads.
  bool from_the_same(TensorId part) const {
    const Layer* layer = net_.producer(part, body_);
    if (!layer) return false;
    if (std::holds_alternative<Slice>(layer->op)) return std::find(here_.inputs.begin(), here_.inputs.end(), layer->inputs[0]) != here_.inputs.end();
    const auto* pointwise = std::get_if<Pointwise>(&layer->op);
    return pointwise && layer->outputs.size() == 1 && net_.uses(part, body_) == 1 && layer->inputs.size() == 1 &&
           made_by<Slice>(net_, layer->inputs[0], body_) && from_the_same(layer->inputs[0]);
  }

  /// Entries start to end of input `id` along the axis; the input itself where it is broadcast.
  TensorId sliced(TensorId id, int64_t start, int64_t end) {
    const int lead = static_cast<int>(shape(here_.outputs[0]).size() - shape(id).size());
    if (axis_ < lead || shape(id)[axis_ - lead].is_const(1)) return id;
    const Slice slice{axis_ - lead, start, end, 1};
    for (LayerId reader : net_.consumers(id, body_)) {
      const auto* same = std::get_if<Slice>(&net_.bodies[body_].layers[reader].op);
      if (same && *same == slice) return net_.bodies[body_].layers[reader].outputs[0];
    }
    return net_.add1(slice, {id}, here_.origins, body_);
  }

  Composed half(TensorId part, int64_t start, int64_t end) {
    std::vector<TensorId> inputs;
    for (TensorId in : here_.inputs) inputs.push_back(in == whole_ ? part : sliced(in, start, end));
    const Program& program = std::get<Pointwise>(here_.op).program;
    const Layer& maker = *net_.producer(part, body_);
    if (const auto* inner = std::get_if<Pointwise>(&maker.op))
      return compose_through(program, inputs, part, inner->program, maker.inputs, 0, net_.type(part, body_).dtype);
    return {program, inputs};
  }

  Network& net_;
  int body_;
  LayerId id_;
  const Layer here_;  // by value: adding layers moves the vector
  TensorId whole_ = kNone;
  std::vector<TensorId> parts_;
  int axis_ = 0;
};

}  // namespace

bool split_concat(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;  // the CPU's kernels lose their long rows
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (!std::holds_alternative<Pointwise>(layer.op) || layer.outputs.size() != 1 || constant[layer.outputs[0]] || net.uses(layer.outputs[0], body) == 0)
        continue;
      const size_t slots = layer.inputs.size();
      for (size_t slot = 0; slot < slots; ++slot) {
        Splitter splitter(net, id, body);
        if (!splitter.matches(slot) || !splitter.apply()) continue;
        changed = true;
        break;
      }
    }
    if (changed) net.sort(body);
  }
  return changed;
}

}  // namespace tuyere
