// SPDX-License-Identifier: Apache-2.0
// matmul(softmax(matmul(q, k^T) * scale + mask), v)                      => attention(q, k, v, mask) scale
// The scale may stand on q or k; a tensor that is the same for all keys (a learned temperature of each head) goes to q. Masks may be added or put in by
// where(condition, scores, -inf), in other shapes than the scores' (windows: reshape, add, reshape; a mask of one image's windows repeats for all images);
// several become one additive mask. A finite fill below -1e30 swallows the scores in f32, so that adding it is the same.
// attention(q, repeat(k), repeat(v))                                      => attention(q, k, v)          heads repeated by expand and reshape
// See tests/unit/passes/match_attention.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr int64_t kLargestHead = 256;  // beyond, two products and a softmax are as good
constexpr double kSwallows = -1e30;

/// A mask term and the reshapes between it and the product, nearest to the term first.
struct Term {
  TensorId tensor = kNone;
  double factor = 1;
  bool condition = false;  // scores stay where `tensor` == `keep`; otherwise `fill`
  bool keep = true;
  double fill = 0;
  std::vector<std::pair<Shape, Shape>> reshapes;  // scores there, scores before
};

struct Scores {
  LayerId product = kNone;
  double scale = 1;
  std::vector<Term> terms;
  std::optional<Term> factors;  // of all scores of a query; between the terms and the product
};

/// q or k, and the views that stand between it and the scaling that was taken off.
struct Operand {
  TensorId source;
  std::vector<Op> views;  // nearest to the product first
  double scale = 1;
};

int common_suffix(const Shape& a, const Shape& b) {
  size_t count = 0;
  while (count < a.size() && count < b.size() && a[a.size() - 1 - count] == b[b.size() - 1 - count]) ++count;
  return static_cast<int>(count);
}

class AttentionMatcher {
 public:
  AttentionMatcher(Network& net, int body) : net_(net), body_(body) {}

  bool rewrite(LayerId second) {
    const Layer layer = net_.bodies[body_].layers[second];  // by value: adding layers moves the vector
    const auto* product = std::get_if<MatMul>(&layer.op);
    if (!product || product->trans_a || !product->epilogue.empty() || !is_float(product->type)) return false;
    const TensorId weights = widened_alone(layer.inputs[0]);
    const auto* softmax = weights == kNone ? nullptr : made_by<Softmax>(net_, weights, body_);
    const auto rank = static_cast<int64_t>(shape(layer.outputs[0]).size());
    if (!softmax || softmax->log || softmax->axis != rank - 1 || !softmax->prologue.empty() || sole_consumer(net_, weights, body_) == kNone) return false;
    const auto scores = walk(net_.producer(weights, body_)->inputs[0], {});
    if (!scores || !supported(layer, *scores)) return false;
    replace(layer, *scores);
    return true;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  /// `id` without float casts, when every cast is read once.
  TensorId widened_alone(TensorId id) const {
    for (;;) {
      const auto* op = made_by<Pointwise>(net_, id, body_);
      if (!op || net_.producer(id, body_)->inputs.size() != 1) return id;
      const bool casts =
          std::all_of(op->program.body.begin(), op->program.body.end(), [](const Inst& inst) { return inst.fn == Fn::cast && is_float(inst.type); });
      if (!casts) return id;
      if (sole_consumer(net_, id, body_) == kNone) return kNone;
      id = net_.producer(id, body_)->inputs[0];
    }
  }

  /// From the softmax's input up to the product; every tensor on the way has one reader.
  std::optional<Scores> walk(TensorId id, Scores scores) const {
    id = widened_alone(id);
    if (id == kNone || sole_consumer(net_, id, body_) == kNone) return std::nullopt;
    const Layer* layer = net_.producer(id, body_);
    if (!layer) return std::nullopt;
    if (const auto* product = std::get_if<MatMul>(&layer->op)) return finish(*product, net_.tensor(id, body_).producer, std::move(scores));
    if (std::holds_alternative<Reshape>(layer->op)) {
      const TensorId from = layer->inputs[0];
      for (Term& term : scores.terms) term.reshapes.push_back({shape(id), shape(from)});
      if (scores.factors) scores.factors->reshapes.push_back({shape(id), shape(from)});
      return common_suffix(shape(id), shape(from)) >= 2 || (scores.terms.empty() && !scores.factors) ? walk(from, std::move(scores)) : std::nullopt;
    }
    const auto call = called(net_, id, body_);
    if (!call) return std::nullopt;
    switch (call->fn) {
      case Fn::mul:
      case Fn::div:
        return call->tensors[0] != kNone && call->tensors[1] != kNone ? walk_factors(*call, id, scores) : walk_scale(*call, std::move(scores));
      case Fn::add:
        return scores.factors ? std::nullopt : walk_sum(*call, id, scores);
      case Fn::where:
        return scores.factors ? std::nullopt : walk_where(*call, id, std::move(scores));
      default:
        return std::nullopt;
    }
  }

  std::optional<Scores> walk_scale(const Called& call, Scores scores) const {
    const int k = call.tensors[0] == kNone ? 1 : 0;
    if (call.tensors[k] == kNone || call.tensors[1 - k] != kNone || (call.fn == Fn::div && k == 1)) return std::nullopt;
    scores.scale *= call.fn == Fn::mul ? call.numbers[1 - k] : 1 / call.numbers[1 - k];
    return walk(call.tensors[k], std::move(scores));
  }

  std::optional<Scores> walk_factors(const Called& call, TensorId id, const Scores& scores) const {
    for (int k = 0; k < 2 && call.fn == Fn::mul && !scores.factors; ++k) {
      const TensorId main = call.tensors[k], factors = call.tensors[1 - k];
      if (main == factors || shape(main) != shape(id) || shape(factors).empty() || !shape(factors).back().is_const(1)) continue;
      if (!is_float(net_.type(factors, body_).dtype)) continue;
      Scores next = scores;
      next.factors = Term{.tensor = factors, .reshapes = {}};
      if (auto found = walk(main, std::move(next))) return found;
    }
    return std::nullopt;
  }

  std::optional<Scores> walk_sum(const Called& call, TensorId id, const Scores& scores) const {
    for (int k = 0; k < 2; ++k) {
      const TensorId main = call.tensors[k], mask = call.tensors[1 - k];
      if (main == kNone || mask == kNone || main == mask || shape(main) != shape(id) || !is_float(net_.type(mask, body_).dtype)) continue;
      Scores next = scores;
      Term term;
      term.tensor = mask;
      term.factor = scores.scale;
      next.terms.push_back(term);
      if (auto found = walk(main, std::move(next))) return found;
    }
    return std::nullopt;
  }

  std::optional<Scores> walk_where(const Called& call, TensorId id, Scores scores) const {
    const bool keep = call.tensors[2] == kNone;
    const TensorId main = call.tensors[keep ? 1 : 2];
    if (call.tensors[0] == kNone || main == kNone || call.tensors[keep ? 2 : 1] != kNone || scores.scale <= 0 || shape(main) != shape(id)) return std::nullopt;
    Term term;
    term.tensor = call.tensors[0];
    term.condition = true;
    term.keep = keep;
    term.fill = call.numbers[keep ? 2 : 1];
    if (net_.type(term.tensor, body_).dtype != DType::Bool || !(term.fill <= kSwallows)) return std::nullopt;
    scores.terms.push_back(term);
    return walk(main, std::move(scores));
  }

  std::optional<Scores> finish(const MatMul& product, LayerId id, Scores scores) const {
    if (!product.epilogue.empty()) {
      const auto call = plain_call(product.epilogue);
      if (!call || product.epilogue.inputs.size() != 1 || call->fn != Fn::mul || (call->inputs[0] < 0) == (call->inputs[1] < 0)) return std::nullopt;
      scores.scale *= call->literals[call->inputs[0] < 0 ? 0 : 1];
    }
    scores.product = id;
    return scores;
  }

  bool supported(const Layer& second, const Scores& scores) const {
    const Layer& first = net_.bodies[body_].layers[scores.product];
    const Shape &q = shape(first.inputs[0]), &k = shape(first.inputs[1]), &v = shape(second.inputs[1]), &p = shape(first.outputs[0]),
                &w = shape(second.inputs[0]);
    const size_t rank = p.size();
    if (p != w || (rank != 3 && rank != 4) || q.size() != rank || k.size() != rank || v.size() != rank) return false;
    for (size_t d = 0; d + 2 < rank; ++d)
      if (q[d] != k[d] || q[d] != v[d]) return false;
    const bool trans_a = std::get<MatMul>(first.op).trans_a;
    const Dim &head = q[rank - (trans_a ? 2 : 1)], &out = shape(second.outputs[0]).back();
    if (!head.is_const() || !out.is_const() || head.value() > kLargestHead || out.value() > kLargestHead) return false;
    // Channels that attend to channels: the scores are the smallest tensor, and products read the others in any order.
    const Dim &queries = p[rank - 2], &keys = p[rank - 1];
    if (scores.factors && queries.is_const() && keys.is_const() && std::max(queries.value(), keys.value()) < head.value()) return false;
    const DType type = net_.type(first.inputs[0], body_).dtype;
    return is_float(type) && type != DType::F64 && net_.type(second.inputs[1], body_).dtype == type;
  }

  /// Takes a scaling by a number off an operand.
  Operand unscaled(TensorId id) const {
    Operand plain{id, {}, 1}, operand = plain;
    for (TensorId at = id;;) {
      if (sole_consumer(net_, at, body_) == kNone) return plain;
      const Layer* layer = net_.producer(at, body_);
      if (!layer) return plain;
      if (std::holds_alternative<Permute>(layer->op) || std::holds_alternative<Reshape>(layer->op)) {
        operand.views.push_back(layer->op);
        at = layer->inputs[0];
        continue;
      }
      const auto call = called(net_, at, body_);
      if (!call || (call->fn != Fn::mul && call->fn != Fn::div)) return plain;
      const int k = call->tensors[0] == kNone ? 1 : 0;
      if (call->tensors[k] == kNone || call->tensors[1 - k] != kNone || (call->fn == Fn::div && k == 1)) return plain;
      operand.source = call->tensors[k];
      operand.scale = call->fn == Fn::mul ? call->numbers[1 - k] : 1 / call->numbers[1 - k];
      return net_.type(operand.source, body_) == net_.type(at, body_) ? operand : plain;
    }
  }

  TensorId restored(const Operand& operand, bool swap, const Origins& origins) {
    TensorId id = operand.source;
    for (auto view = operand.views.rbegin(); view != operand.views.rend(); ++view) id = net_.add1(*view, {id}, origins, body_);
    return swap ? swapped(id, origins) : id;
  }

  TensorId swapped(TensorId id, const Origins& origins) {
    Permute permute;
    for (size_t k = 0; k < shape(id).size(); ++k) permute.perm.push_back(static_cast<int64_t>(k));
    std::swap(permute.perm[permute.perm.size() - 1], permute.perm[permute.perm.size() - 2]);
    return net_.add1(permute, {id}, origins, body_);
  }

  TensorId rank4(TensorId id, const Origins& origins) {
    const Shape s = shape(id);
    return s.size() == 4 ? id : net_.add1(Reshape{{s[0], 1, s[1], s[2]}}, {id}, origins, body_);
  }

  void replace(const Layer& second, const Scores& scores) {
    const Layer first = net_.bodies[body_].layers[scores.product];
    const auto& product = std::get<MatMul>(first.op);
    const auto& last = std::get<MatMul>(second.op);
    Origins origins = second.origins;
    origins.insert(first.origins.begin(), first.origins.end());
    const Operand q = unscaled(first.inputs[0]), k = first.inputs[1] == first.inputs[0] ? Operand{first.inputs[1], {}, 1} : unscaled(first.inputs[1]);
    TensorId queries = restored(q, product.trans_a, origins);
    if (scores.factors) queries = net_.pointwise(Fn::mul, {queries, translated(*scores.factors, origins)}, net_.type(queries, body_).dtype, origins, body_);
    std::vector<TensorId> inputs{rank4(queries, origins), rank4(restored(k, !product.trans_b, origins), origins),
                                 rank4(last.trans_b ? swapped(second.inputs[1], origins) : second.inputs[1], origins)};
    Attention op{.scale = scores.scale * q.scale * k.scale, .has_mask = !scores.terms.empty(), .type = last.type};
    if (op.has_mask) inputs.push_back(mask_of(scores, shape(first.outputs[0]).size(), origins));
    const TensorId out = net_.add1(op, inputs, origins, body_);
    const TensorId old = second.outputs[0];
    net_.replace(old, shape(out) == shape(old) ? out : net_.add1(Reshape{shape(old)}, {out}, origins, body_), body_);
  }

  TensorId mask_of(const Scores& scores, size_t rank, const Origins& origins) {
    TensorId sum = kNone;
    const bool repeats = all_repeat(scores.terms, rank);
    for (const Term& term : scores.terms) {
      TensorId part = translated(term, origins, repeats);
      if (term.condition) {
        if (scores.terms.size() == 1 && std::isinf(term.fill)) {
          sum = term.keep ? part : net_.pointwise(Fn::logical_not, {part}, DType::Bool, origins, body_);
          break;
        }
        const TensorId zero = net_.add_scalar(DType::F32, 0, body_), fill = net_.add_scalar(DType::F32, term.fill, body_);
        part = net_.pointwise(Fn::where, {part, term.keep ? zero : fill, term.keep ? fill : zero}, DType::F32, origins, body_);
      } else if (term.factor != 1) {
        part = net_.pointwise(Fn::mul, {part, net_.add_scalar(DType::F32, term.factor, body_)}, DType::F32, origins, body_);
      }
      const bool same = sum == kNone || net_.type(sum, body_).dtype == net_.type(part, body_).dtype;
      sum = sum == kNone ? part : net_.pointwise(Fn::add, {sum, part}, same ? net_.type(part, body_).dtype : DType::F32, origins, body_);
    }
    const Shape s = shape(sum);
    return rank == 3 && s.size() == 3 ? net_.add1(Reshape{{s[0], 1, s[1], s[2]}}, {sum}, origins, body_) : sum;
  }

  /// How many batch entries a term has that a single reshape joins with more before them, for which it repeats.
  std::optional<Dim> repeated(const Term& term) const {
    if (term.reshapes.size() != 1) return std::nullopt;
    const auto& [there, before] = term.reshapes[0];
    const Shape& s = shape(term.tensor);
    if (before.size() != 4 || there.size() != 5 || s.size() != 5 || common_suffix(there, before) != 3) return std::nullopt;
    const bool whole = s[0].is_const(1) && s[1] == there[1] && s[1].is_const() && s[1].value() > 1;
    return whole && mod(before[0], s[1]).is_const(0) ? std::optional(s[1]) : std::nullopt;
  }

  /// Whether the sum of the terms is one tensor that repeats: all others are the same for the whole batch.
  bool all_repeat(const std::vector<Term>& terms, size_t rank) const {
    std::optional<Dim> batches;
    for (const Term& term : terms) {
      const Shape& s = shape(term.tensor);
      if (const auto found = repeated(term)) {
        if (batches && *batches != *found) return false;
        batches = found;
      } else if (s.size() >= rank && (!term.reshapes.empty() || !s[s.size() - rank].is_const(1))) {
        return false;
      }
    }
    return batches.has_value();
  }

  /// The term's tensor in the shape of the product: leading dims that the reshapes join or split are spelled out, the others stay as they are.
  TensorId translated(const Term& term, const Origins& origins, bool repeats = false) {
    TensorId id = term.tensor;
    if (const std::optional<Dim> batches = repeats ? repeated(term) : std::nullopt) {
      const Shape s = shape(id);
      return net_.add1(Reshape{{*batches, s[2], s[3], s[4]}}, {id}, origins, body_);
    }
    for (const auto& [there, before] : term.reshapes) {
      const int same = common_suffix(there, before);
      Shape s = shape(id);
      s.insert(s.begin(), there.size() - s.size(), 1);
      const Shape tail(s.end() - same, s.end());
      const bool varies = !std::all_of(s.begin(), s.end() - same, [](const Dim& dim) { return dim.is_const(1); });
      if (varies) {
        Shape full(there.begin(), there.end() - same);
        full.insert(full.end(), tail.begin(), tail.end());
        if (full != shape(id)) id = net_.add1(Expand{full}, {id}, origins, body_);
        Shape joined(before.begin(), before.end() - same);
        joined.insert(joined.end(), tail.begin(), tail.end());
        id = net_.add1(Reshape{joined}, {id}, origins, body_);
      } else if (shape(id) != tail) {
        id = net_.add1(Reshape{tail}, {id}, origins, body_);
      }
    }
    return id;
  }

  Network& net_;
  int body_;
};

/// k of reshape(expand(reshape(k, [B,H,1,S,D]), [B,H,r,S,D]), [B,H*r,S,D]), or kNone.
TensorId unrepeated(const Network& net, TensorId id, int body) {
  const auto input = [&](TensorId of) { return net.producer(of, body)->inputs[0]; };
  if (!made_by<Reshape>(net, id, body) || !made_by<Expand>(net, input(id), body)) return kNone;
  const TensorId expanded = input(id), split = input(expanded);
  if (!made_by<Reshape>(net, split, body)) return kNone;
  const TensorId k = input(split);
  const Shape &out = net.type(id, body).shape, &wide = net.type(expanded, body).shape, &one = net.type(split, body).shape, &in = net.type(k, body).shape;
  const bool ranks = out.size() == 4 && wide.size() == 5 && one.size() == 5 && in.size() == 4;
  if (!ranks || one != Shape{in[0], in[1], 1, in[2], in[3]} || wide != Shape{in[0], in[1], wide[2], in[2], in[3]}) return kNone;
  return out == Shape{in[0], in[1] * wide[2], in[2], in[3]} ? k : kNone;
}

bool share_heads(Network& net, LayerId id, int body) {
  const Layer& layer = net.bodies[body].layers[id];
  if (!std::holds_alternative<Attention>(layer.op)) return false;
  const TensorId k = unrepeated(net, layer.inputs[1], body), v = unrepeated(net, layer.inputs[2], body);
  if (k == kNone || v == kNone || net.type(k, body).shape[1] != net.type(v, body).shape[1]) return false;
  net.set_input(id, 1, k, body);
  net.set_input(id, 2, v, body);
  return true;
}

}  // namespace

bool match_attention(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (layer.outputs.size() == 1 && net.uses(layer.outputs[0], body) > 0) changed |= AttentionMatcher(net, body).rewrite(id);
    }
    for (LayerId id : live(net, body)) changed |= share_heads(net, id, body);
  }
  return changed;
}

}  // namespace tuyere
