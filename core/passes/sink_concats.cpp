// SPDX-License-Identifier: Apache-2.0
// f(concat(x, y), c...) => concat(f(x, c[x]...), f(y, c[y]...))        c[x]: the entries of c at x's place
// f is pointwise, c is constant. On the CPU x and y are results of convolutions that nothing else reads: scales, biases and activations behind the branches of
// a block become parts of the branches. On a GPU one of them has other readers (the left side of a U-Net), so that it is copied into the concat anyway: the
// copy computes f, too, and the other branch finishes by it.
// See tests/unit/passes/sink_concats.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// A pointwise layer on a concat of convolutions.
class ConcatSink {
 public:
  ConcatSink(Network& net, LayerId layer, const std::vector<bool>& constant, int body, bool cuda)
      : net_(net), body_(body), id_(layer), here_(net.bodies[body].layers[layer]), constant_(constant), cuda_(cuda) {}

  bool matches() {
    if (here_.dead || !std::holds_alternative<Pointwise>(here_.op) || here_.outputs.size() != 1 || net_.uses(here_.outputs[0], body_) == 0) return false;
    for (TensorId in : here_.inputs) {
      if (const auto* concat = made_by<Concat>(net_, in, body_)) whole_ = in, axis_ = static_cast<size_t>(concat->axis);
    }
    if (whole_ == kNone || shape(whole_) != shape(here_.outputs[0]) || sole_consumer(net_, whole_, body_) != id_) return false;
    parts_ = net_.producer(whole_, body_)->inputs;
    const auto goes_along = [&](TensorId in) { return in == whole_ || is_constant(in); };
    return std::all_of(here_.inputs.begin(), here_.inputs.end(), goes_along) && fit();
  }

  void apply() {
    std::vector<TensorId> results;
    Dim start = 0;
    for (TensorId part : parts_) {
      const Dim end = start + shape(part)[axis_];
      std::vector<TensorId> inputs;
      for (TensorId in : here_.inputs) inputs.push_back(in == whole_ ? part : entries(in, start, end));
      results.push_back(net_.add1(here_.op, inputs, here_.origins, body_));
      start = end;
    }
    net_.replace(here_.outputs[0], net_.add1(Concat{static_cast<int64_t>(axis_)}, results, here_.origins, body_), body_);
    net_.erase(id_, body_);
    net_.erase(net_.tensor(whole_, body_).producer, body_);  // so that the branches are read once again
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  /// Tensors added on the way are slices of constants and results of branches.
  bool is_constant(TensorId id) const { return id < static_cast<TensorId>(constant_.size()) && constant_[id]; }

  bool fit() const {
    const auto count = [&](auto which) { return std::count_if(parts_.begin(), parts_.end(), which); };
    const auto own = count([&](TensorId part) { return is_own_branch(part); }), all = static_cast<std::ptrdiff_t>(parts_.size());
    if (!cuda_) return own == all;  // all of them there: not measured
    const auto shared = count([&](TensorId part) { return net_.uses(part, body_) > 1 && shape(part)[axis_].is_const(); });
    return own + shared == all && shared > 0 && shared <= own;
  }

  /// A convolution, or formulas over one, read once.
  bool is_own_branch(TensorId part) const {
    if (net_.uses(part, body_) != 1 || !shape(part)[axis_].is_const()) return false;
    if (made_by<Conv>(net_, part, body_)) return true;
    if (!made_by<Pointwise>(net_, part, body_)) return false;
    const std::vector<TensorId>& inputs = net_.producer(part, body_)->inputs;
    return std::any_of(inputs.begin(), inputs.end(), [&](TensorId in) { return shape(in) == shape(part) && is_own_branch(in); });
  }

  /// From start to end along the axis; the tensor itself where it is broadcast.
  TensorId entries(TensorId id, const Dim& start, const Dim& end) {
    const size_t missing = shape(here_.outputs[0]).size() - shape(id).size();
    if (axis_ < missing || shape(id)[axis_ - missing].is_const(1)) return id;
    return net_.add1(Slice{static_cast<int64_t>(axis_ - missing), start, end, 1}, {id}, here_.origins, body_);
  }

  Network& net_;
  int body_;
  LayerId id_;
  const Layer here_;  // by value: adding layers moves the vector
  const std::vector<bool>& constant_;
  bool cuda_;
  TensorId whole_ = kNone;
  std::vector<TensorId> parts_;
  size_t axis_ = 0;
};

}  // namespace

bool sink_concats(Network& net, const PassContext& context) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    bool here = false;
    for (LayerId id : live(net, body)) {
      ConcatSink sink(net, id, constant, body, context.target.is_cuda());
      if (!sink.matches()) continue;
      sink.apply();
      here = true;
    }
    if (here) net.sort(body);
    changed |= here;
  }
  return changed;
}

}  // namespace tuyere
