// SPDX-License-Identifier: Apache-2.0
// x * rsqrt(mean(x^2) + eps)                                  => norm(x) kind=rms
// d * rsqrt(mean(d^2) + eps), d = x - mean(x)                 => norm(x) kind=layer         also with var(x), and / sqrt
// x / max(sqrt(sum(x^2)), eps)                                => norm(x) kind=rms / sqrt(n)        n values; on a GPU, of 16 bits: no length is near eps, and a
//                                                                                           row of zeros stays one
// norm(x) * w, norm(x) + b                                    => norm(x, w, b)              w, b constants of the normalized dimensions
// Casts to f32 before and back after the statistics are part of what norm does.
// See tests/unit/passes/match_norm.cpp
#include <algorithm>
#include <cmath>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

struct Found {
  TensorId x = kNone;
  Norm norm;
};

class NormMatcher {
 public:
  NormMatcher(const Network& net, int body) : net_(net), body_(body) {}

  std::optional<Found> match(TensorId y, bool lengths) const {
    const auto call = called(net_, y, body_);
    if (!call) return std::nullopt;
    if (auto found = lengths ? unit_length(*call) : std::nullopt) return found;
    if (call->fn == Fn::div && call->tensors[0] != kNone && call->tensors[1] != kNone) {
      const auto root = unary(call->tensors[1], Fn::sqrt);
      return root ? scaled(call->tensors[0], *root) : std::nullopt;
    }
    for (int k = 0; k < 2 && call->fn == Fn::mul; ++k) {
      if (call->tensors[k] == kNone || call->tensors[1 - k] == kNone) continue;
      if (const auto variance = inverse_root(call->tensors[1 - k]))
        if (auto found = scaled(call->tensors[k], *variance)) return found;
    }
    return std::nullopt;
  }

 private:
  TensorId source(TensorId id) const { return without_casts(net_, id, body_); }

  std::optional<TensorId> unary(TensorId id, Fn fn) const {
    const auto call = called(net_, source(id), body_);
    return call && call->fn == fn && call->tensors[0] != kNone ? std::optional(source(call->tensors[0])) : std::nullopt;
  }

  /// v of rsqrt(v), 1 / sqrt(v).
  std::optional<TensorId> inverse_root(TensorId id) const {
    if (const auto v = unary(id, Fn::rsqrt)) return v;
    if (const auto root = unary(id, Fn::recip)) return unary(*root, Fn::sqrt);
    const auto call = called(net_, source(id), body_);
    if (call && call->fn == Fn::div && call->tensors[0] == kNone && call->numbers[0] == 1 && call->tensors[1] != kNone)
      return unary(call->tensors[1], Fn::sqrt);
    return std::nullopt;
  }

  /// The reduction that makes `id`, over the last dimensions, kept as ones.
  const Reduce* over_last(TensorId id, ReduceKind kind) const {
    const auto* reduce = made_by<Reduce>(net_, id, body_);
    if (!reduce || reduce->kind != kind || !reduce->keepdim || !reduce->prologue.empty() || !reduce->epilogue.empty() || reduce->axes.empty()) return nullptr;
    const auto rank = static_cast<int64_t>(net_.type(id, body_).shape.size());
    for (size_t k = 0; k < reduce->axes.size(); ++k)
      if (reduce->axes[k] != rank - static_cast<int64_t>(reduce->axes.size() - k)) return nullptr;
    return reduce;
  }

  TensorId reduced(TensorId id) const { return source(net_.producer(id, body_)->inputs[0]); }

  bool is_square_of(TensorId id, TensorId x) const {
    const auto call = called(net_, source(id), body_);
    if (!call || call->tensors[0] == kNone || source(call->tensors[0]) != x) return false;
    if (call->fn == Fn::square) return true;
    if (call->fn == Fn::pow) return call->tensors[1] == kNone && call->numbers[1] == 2;
    return call->fn == Fn::mul && call->tensors[1] != kNone && source(call->tensors[1]) == x;
  }

  /// `id`, or what is stored as it in a shorter float: steps that become one skip that.
  TensorId unrounded(TensorId id) const {
    const auto* op = made_by<Pointwise>(net_, id, body_);
    const bool stored = op && op->types.size() == 1 && op->program.inputs.size() == 1 && op->program.is_identity() && is_float(op->types[0]);
    return stored ? net_.producer(id, body_)->inputs[0] : id;
  }

  /// x / max(sqrt(sum(x^2)), eps) over the last dimension, which is contiguous.
  std::optional<Found> unit_length(const Called& call) const {
    constexpr double kLeastLength = 1e-6;
    if (call.fn != Fn::div || call.tensors[0] == kNone || call.tensors[1] == kNone) return std::nullopt;
    const TensorId x = source(call.tensors[0]);
    const TensorType& type = net_.type(x, body_);
    if ((type.dtype != DType::F16 && type.dtype != DType::BF16) || type.shape.empty() || !type.shape.back().is_const()) return std::nullopt;
    const auto largest = called(net_, source(call.tensors[1]), body_);
    if (!largest || largest->fn != Fn::max || (largest->tensors[0] == kNone) == (largest->tensors[1] == kNone)) return std::nullopt;
    const int k = largest->tensors[0] == kNone ? 1 : 0;
    const double eps = largest->numbers[1 - k], count = static_cast<double>(type.shape.back().value());
    const auto squares = unary(unrounded(largest->tensors[k]), Fn::sqrt);
    const Reduce* sum = squares && eps > 0 && eps <= kLeastLength ? over_last(*squares, ReduceKind::sum) : nullptr;
    if (!sum || sum->axes.size() != 1 || !is_square_of(net_.producer(*squares, body_)->inputs[0], x)) return std::nullopt;
    if (memory_order(net_, x, body_).back() + 1 != static_cast<int>(type.shape.size())) return std::nullopt;
    Found found{x, Norm{.kind = NormKind::rms}};
    found.norm.eps = eps * eps / count;
    Program& scale = found.norm.epilogue;
    scale.inputs = {DType::F32};
    scale.outputs = {static_cast<int16_t>(scale.add(Fn::mul, {0, scale.constant(1 / std::sqrt(count), DType::F32)}))};
    return found;
  }

  /// x0 of x0 - mean(x0) over the last `axes` dimensions.
  std::optional<TensorId> centered(TensorId d, size_t axes) const {
    const auto call = called(net_, d, body_);
    if (!call || call->fn != Fn::sub || call->tensors[0] == kNone || call->tensors[1] == kNone) return std::nullopt;
    const TensorId mean = source(call->tensors[1]), x = source(call->tensors[0]);
    const Reduce* reduce = over_last(mean, ReduceKind::mean);
    return reduce && reduce->axes.size() == axes && reduced(mean) == x ? std::optional(x) : std::nullopt;
  }

  /// x / sqrt(v)
  std::optional<Found> scaled(TensorId x, TensorId v) const {
    const auto sum = called(net_, v, body_);
    if (!sum || sum->fn != Fn::add || (sum->tensors[0] == kNone) == (sum->tensors[1] == kNone)) return std::nullopt;
    const int k = sum->tensors[0] == kNone ? 1 : 0;
    const TensorId statistic = source(sum->tensors[k]);
    Found found;
    found.norm.eps = sum->numbers[1 - k];
    x = source(x);
    if (const Reduce* mean = over_last(statistic, ReduceKind::mean); mean && is_square_of(net_.producer(statistic, body_)->inputs[0], x)) {
      found.norm.axes = static_cast<int64_t>(mean->axes.size());
      const auto inner = centered(x, mean->axes.size());
      found.norm.kind = inner ? NormKind::layer : NormKind::rms;
      found.x = inner ? *inner : x;
      return found;
    }
    const Reduce* var = over_last(statistic, ReduceKind::var);
    const auto inner = var && var->correction == 0 ? centered(x, var->axes.size()) : std::nullopt;
    if (!inner || reduced(statistic) != *inner) return std::nullopt;
    found.norm.axes = static_cast<int64_t>(var->axes.size());
    found.norm.kind = NormKind::layer;
    found.x = *inner;
    return found;
  }

  const Network& net_;
  int body_;
};

/// The only reader of `y` when it is `fn` of it and a constant of the normalized dimensions; casts between are skipped.
struct Affine {
  TensorId out, constant;
};
std::optional<Affine> affine_after(const Network& net, TensorId y, Fn fn, const Shape& dims, const std::vector<bool>& constant, int body) {
  for (;;) {
    const LayerId reader = sole_consumer(net, y, body);
    if (reader == kNone) return std::nullopt;
    const Layer& layer = net.bodies[body].layers[reader];
    if (!std::holds_alternative<Pointwise>(layer.op) || layer.outputs.size() != 1 || net.type(layer.outputs[0], body).shape != net.type(y, body).shape)
      return std::nullopt;
    const auto call = called(net, layer.outputs[0], body);
    if (!call) {  // perhaps a cast
      const auto& program = std::get<Pointwise>(layer.op).program;
      const bool casts = std::all_of(program.body.begin(), program.body.end(), [](const Inst& inst) { return inst.fn == Fn::cast && is_float(inst.type); });
      if (layer.inputs.size() != 1 || !casts || !is_float(net.type(layer.outputs[0], body).dtype)) return std::nullopt;
      y = layer.outputs[0];
      continue;
    }
    if (call->fn != fn || call->tensors[0] == kNone || call->tensors[1] == kNone) return std::nullopt;
    const TensorId c = call->tensors[call->tensors[0] == y ? 1 : 0];
    Shape shape = net.type(c, body).shape;
    while (shape.size() > dims.size() && shape[0].is_const(1)) shape.erase(shape.begin());
    const bool known = c < static_cast<TensorId>(constant.size()) && constant[c];
    return c != y && known && shape == dims ? std::optional(Affine{layer.outputs[0], c}) : std::nullopt;
  }
}

void replace_by_norm(Network& net, TensorId y, Found found, const std::vector<bool>& constant, int body) {
  const Shape& shape = net.type(found.x, body).shape;
  const Shape dims(shape.end() - found.norm.axes, shape.end());
  Origins origins = net.producer(y, body)->origins;
  std::vector<TensorId> inputs{found.x};
  TensorId last = y;
  const auto take = [&](Fn fn) {
    const auto affine = affine_after(net, last, fn, dims, constant, body);
    if (!affine) return false;
    const Origins& more = net.producer(affine->out, body)->origins;
    origins.insert(more.begin(), more.end());
    last = affine->out;
    inputs.push_back(net.type(affine->constant, body).shape == dims ? affine->constant : net.add1(Reshape{dims}, {affine->constant}, origins, body));
    return true;
  };
  if (found.norm.epilogue.empty()) {
    found.norm.has_weight = take(Fn::mul);
    found.norm.has_bias = take(Fn::add);
  }
  found.norm.type = net.type(last, body).dtype;
  net.replace(last, net.add1(found.norm, inputs, origins, body), body);
}

}  // namespace

bool match_norm(Network& net, const PassContext& context) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (layer.outputs.size() != 1 || constant[layer.outputs[0]] || net.uses(layer.outputs[0], body) == 0) continue;
      const TensorId y = layer.outputs[0];
      const auto found = NormMatcher(net, body).match(y, context.target.is_cuda());
      if (!found || net.type(found->x, body).shape != net.type(y, body).shape) continue;
      replace_by_norm(net, y, *found, constant, body);
      changed = true;
    }
  }
  return changed;
}

}  // namespace tuyere
