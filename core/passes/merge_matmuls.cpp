// SPDX-License-Identifier: Apache-2.0
// matmul(x, w0), matmul(x, w1), ... => y = matmul(x, concat(w0, w1, ...)); slices of y along the last dimension
// Weights are constants; epilogues are equal programs over constants along the last dimension (biases), which are concatenated too.
// Two products that meet in a formula (gated units) stay apart where one of them can have it as its epilogue, which saves a kernel and its traffic.
// On the CPU a strided slice costs pointwise readers their vectors: only products that views, matmuls and attention read (Q, K, V) are merged.
// See tests/unit/passes/merge_matmuls.cpp
#include <algorithm>
#include <map>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr int64_t kSmallest = 16, kLargest = 1 << 16;

class Siblings {
 public:
  Siblings(Network& net, int body, const PassContext& context) : net_(net), body_(body), context_(context), any_reader_(context.target.is_cuda()) {}

  bool run() {
    net_.sort(body_);
    constant_ = constant_tensors(net_.bodies[body_]);
    std::map<std::string, std::vector<LayerId>> groups;
    std::vector<std::string> keys;  // in order of appearance: the result must not depend on names
    for (LayerId id : live(net_, body_)) {
      if (!mergeable(id)) continue;
      const std::string key = key_of(id);
      if (groups[key].empty()) keys.push_back(key);
      groups[key].push_back(id);
    }
    bool changed = false;
    for (const std::string& key : keys) changed |= merge(groups[key]);
    return changed;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const MatMul& op(LayerId id) const { return std::get<MatMul>(layer(id).op); }
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  int64_t columns(LayerId id) const { return shape(layer(id).outputs[0]).back().value(); }

  bool mergeable(LayerId id) const {
    const auto* matmul = std::get_if<MatMul>(&layer(id).op);
    if (!matmul || constant_[layer(id).inputs[0]] || shape(layer(id).inputs[1]).size() != 2) return false;
    const TensorId out = layer(id).outputs[0];
    if (!shape(out).back().is_const() || columns(id) < kSmallest || columns(id) > kLargest || net_.tensor(out, body_).observed) return false;
    const auto& outputs = net_.bodies[body_].outputs;
    if (std::find(outputs.begin(), outputs.end(), out) != outputs.end()) return false;
    const int rank = static_cast<int>(shape(out).size());
    for (size_t k = 1; k < layer(id).inputs.size(); ++k) {
      const TensorId in = layer(id).inputs[k];
      if (!constant_[in] || (k >= 2 && !varies_along(shape(in), rank, rank - 1))) return false;
    }
    return any_reader_ || readers_take_strides(out);
  }

  bool readers_take_strides(TensorId out) const {
    const std::vector<LayerId> readers = net_.consumers(out, body_);
    return std::all_of(readers.begin(), readers.end(), [&](LayerId reader) {
      const Op& op = layer(reader).op;
      return group(op) == OpGroup::view || std::holds_alternative<MatMul>(op) || std::holds_alternative<Attention>(op);
    });
  }

  /// Products with equal keys differ in their weights only.
  std::string key_of(LayerId id) const {
    std::string key = std::to_string(layer(id).inputs[0]) + " " + str(layer(id).op);
    for (size_t k = 1; k < layer(id).inputs.size(); ++k) key += " " + std::string(name(net_.type(layer(id).inputs[k], body_).dtype));
    return key;
  }

  bool merge(const std::vector<LayerId>& ids) {
    if (ids.size() < 2 || (ids.size() == 2 && is_gated(ids))) return false;
    int64_t total = 0;
    for (LayerId id : ids) total += columns(id);
    if (total > kLargest) return false;
    const MatMul product = op(ids[0]);  // by value: adding layers moves the vector
    std::vector<TensorId> inputs{layer(ids[0]).inputs[0], join(ids, 1, product.trans_b ? 0 : 1)};
    for (size_t k = 2; k < layer(ids[0]).inputs.size(); ++k) inputs.push_back(join(ids, k, 0));
    Origins origins;
    for (LayerId id : ids) origins.insert(layer(id).origins.begin(), layer(id).origins.end());
    const TensorId whole = net_.add1(product, inputs, origins, body_);
    const auto axis = static_cast<int64_t>(shape(whole).size()) - 1;
    int64_t start = 0;
    for (LayerId id : ids) {
      const int64_t end = start + columns(id);
      const TensorId old = layer(id).outputs[0];
      net_.replace(old, net_.add1(Slice{axis, start, end, 1}, {whole}, Origins(layer(id).origins), body_), body_);
      start = end;
    }
    return true;
  }

  bool is_gated(const std::vector<LayerId>& ids) const {
    if (!is_hopper_product(net_, layer(ids[0]), body_, context_)) return false;
    const std::vector<LayerId> first = formulas(ids[0]), second = formulas(ids[1]);
    return std::find_first_of(first.begin(), first.end(), second.begin(), second.end()) != first.end();
  }

  /// The pointwise layers after it that nobody else reads the inputs of.
  std::vector<LayerId> formulas(LayerId id) const {
    std::vector<LayerId> result;
    for (LayerId next = sole_consumer(net_, layer(id).outputs[0], body_); next != kNone; next = sole_consumer(net_, layer(next).outputs[0], body_)) {
      const auto* pointwise = std::get_if<Pointwise>(&layer(next).op);
      if (!pointwise || pointwise->types.size() != 1 || shape(layer(next).outputs[0]) != shape(layer(id).outputs[0])) break;
      result.push_back(next);
    }
    return result;
  }

  /// The constants of input `slot` one after the other; those of an epilogue as vectors of one entry per column.
  TensorId join(const std::vector<LayerId>& ids, size_t slot, int64_t axis) {
    std::vector<TensorId> parts;
    for (LayerId id : ids) {
      TensorId part = layer(id).inputs[slot];
      const Origins origins = layer(id).origins;
      const Shape row{columns(id)};
      if (slot >= 2) {
        const bool one = numel(shape(part)).is_const(1);
        if (one && shape(part).size() > 1) part = net_.add1(Reshape{{}}, {part}, origins, body_);
        if (shape(part) != row) part = one ? net_.add1(Expand{row}, {part}, origins, body_) : net_.add1(Reshape{row}, {part}, origins, body_);
      }
      parts.push_back(part);
    }
    return net_.add1(Concat{axis}, parts, layer(ids[0]).origins, body_);
  }

  Network& net_;
  int body_;
  const PassContext& context_;
  bool any_reader_;
  std::vector<bool> constant_;
};

}  // namespace

bool merge_matmuls(Network& net, const PassContext& context) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= Siblings(net, body, context).run();
  return changed;
}

}  // namespace tuyere
