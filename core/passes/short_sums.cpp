// SPDX-License-Identifier: Apache-2.0
// sum(f(x, y), axis) => f(x[0], y[0]) + f(x[1], y[1]) + ...        x[k]: entry k of the axis; of at most four entries, and not the last; also means
// On a GPU: what weighs branches and adds them up (split attention, selective kernels) becomes one formula, which reads the branches where they lie and writes
// any order of memory, while a reduction writes row-major images only, that are turned before the next convolution. Entries of a concatenation of branches
// are the branches. See tests/unit/passes/short_sums.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

class ShortSum {
 public:
  ShortSum(Network& net, LayerId id, int body) : net_(net), body_(body), sum_(net.bodies[body].layers[id]) {}

  bool rewrite() {
    const auto* op = std::get_if<Reduce>(&sum_.op);
    if (!op || (op->kind != ReduceKind::sum && op->kind != ReduceKind::mean) || op->axes.size() != 1 || !op->prologue.empty() || !op->epilogue.empty())
      return false;
    const TensorType& whole = net_.type(sum_.inputs[0], body_);
    axis_ = static_cast<size_t>(op->axes[0]);
    if (compute_type(whole.dtype) != DType::F32 || axis_ + 1 >= whole.shape.size() || !whole.shape[axis_].is_const()) return false;
    const int64_t count = whole.shape[axis_].value();
    find_formula();
    if (count < 2 || count > kMostEntries || count * static_cast<int64_t>(formula_.inputs.size()) > kMostInputs) return false;
    rank_ = whole.shape.size();
    std::vector<TensorId> terms;
    for (int64_t k = 0; k < count; ++k) {
      std::vector<TensorId> inputs;
      for (TensorId in : formula_.inputs) inputs.push_back(entry(in, k));
      terms.push_back(net_.add1(Pointwise{formula_.program, {DType::F32}}, inputs, sum_.origins, body_));
    }
    TensorId result = net_.add1(Pointwise{added(count, op->kind == ReduceKind::mean), {op->type}}, terms, sum_.origins, body_);
    if (op->keepdim) result = net_.add1(Reshape{net_.type(sum_.outputs[0], body_).shape}, {result}, sum_.origins, body_);
    net_.replace(sum_.outputs[0], result, body_);
    return true;
  }

 private:
  static constexpr int64_t kMostEntries = 4, kMostInputs = 8;  // of one kernel

  /// What is added up: a formula that nothing else reads, or a tensor as it is.
  void find_formula() {
    const TensorId whole = sum_.inputs[0];
    const Layer* producer = net_.producer(whole, body_);
    const auto* op = producer ? std::get_if<Pointwise>(&producer->op) : nullptr;
    if (op && op->types.size() == 1 && net_.uses(whole, body_) == 1) {
      formula_ = {op->program, producer->inputs};
      sum_.origins.insert(producer->origins.begin(), producer->origins.end());
    } else {
      formula_ = {Program{.inputs = {DType::F32}, .body = {}, .outputs = {0}}, {whole}};
    }
  }

  /// Entry k of the axis, which goes; of a tensor that broadcasts to the sum's.
  TensorId entry(TensorId id, int64_t k) {
    const Shape shape = net_.type(id, body_).shape;
    if (shape.size() + axis_ < rank_) return id;
    const size_t axis = shape.size() + axis_ - rank_;
    Shape rest = shape;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(axis));
    TensorId part = id;
    if (!shape[axis].is_const(1)) part = part_of_concat(id, axis, k);
    if (part == kNone) part = net_.add1(Slice{static_cast<int64_t>(axis), k, k + 1, 1}, {id}, sum_.origins, body_);
    return net_.add1(Reshape{rest}, {part}, sum_.origins, body_);
  }

  TensorId part_of_concat(TensorId id, size_t axis, int64_t k) const {
    const auto* concat = made_by<Concat>(net_, id, body_);
    if (!concat || concat->axis != static_cast<int64_t>(axis)) return kNone;
    const std::vector<TensorId>& parts = net_.producer(id, body_)->inputs;
    const bool single = std::all_of(parts.begin(), parts.end(), [&](TensorId part) { return net_.type(part, body_).shape[axis].is_const(1); });
    return single ? parts[static_cast<size_t>(k)] : kNone;
  }

  static Program added(int64_t count, bool mean) {
    Program program;
    program.inputs.assign(static_cast<size_t>(count), DType::F32);
    int sum = 0;
    for (int k = 1; k < count; ++k) sum = program.add(Fn::add, {sum, k});
    if (mean) sum = program.add(Fn::mul, {sum, program.constant(1.0 / static_cast<double>(count), DType::F32)});
    program.outputs = {static_cast<int16_t>(sum)};
    return program;
  }

  Network& net_;
  int body_;
  Layer sum_;  // by value: adding layers moves the vector
  size_t axis_ = 0, rank_ = 0;
  Composed formula_;
};

}  // namespace

bool short_sums(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body))
      if (const auto& outputs = net.bodies[body].layers[id].outputs; !outputs.empty() && !constant[outputs[0]]) changed |= ShortSum(net, id, body).rewrite();
  }
  return changed;
}

}  // namespace tuyere
