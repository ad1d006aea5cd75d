// SPDX-License-Identifier: Apache-2.0
// Branches over one image that are added up, as in models that are trained with more convolutions than they need (RepVGG, MobileOne):
//   conv(x, w) + conv(x, v)  =>  conv(x, w + pad(v))   weights constant, equal steps, v's window within w's
//   conv(x, w) + x * s       =>  conv(x, w + diag(s))  s constant, one value per channel; windows that move by one pixel and have x's among theirs
// Sums are flattened; their other terms are added to the convolution, constants (biases, after batch normalization) first. The window of the result is one that
// was there, so nothing gets more work. See tests/unit/passes/merge_convs.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// A constant weight that joins that of the widest convolution, `shift` pixels from its window's begin.
struct Branch {
  TensorId term, weight;  // weight: of a convolution, or the factors of x
  bool is_factor;
  std::vector<int64_t> shift;
};

struct Merge {
  TensorId base;  // the term that is the widest convolution
  std::vector<Branch> branches;
  std::vector<TensorId> rest;  // the other terms, constants first
};

class ConvMerger {
 public:
  ConvMerger(Network& net, int body) : net_(net), body_(body), constant_(constant_tensors(net.bodies[body])) {}

  /// One rewrite, or false. Tensors that it adds need their own look at what is constant.
  bool run() {
    for (LayerId id : live(net_, body_)) {
      const Layer& layer = net_.bodies[body_].layers[id];
      if (layer.outputs.size() != 1 || constant_[layer.outputs[0]] || net_.uses(layer.outputs[0], body_) == 0 || terms_of(layer.outputs[0]).empty() ||
          is_inner(layer.outputs[0]))
        continue;
      std::vector<TensorId> terms;
      flatten(layer.outputs[0], layer.outputs[0], terms);
      if (const auto merge = find(terms, layer.outputs[0])) {
        rewrite(layer.outputs[0], *merge);
        return true;
      }
    }
    return false;
  }

 private:
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  /// The one or two tensors that a sum adds up; none when it is no sum. Zero, which sums in Python begin with, does not count.
  std::vector<TensorId> terms_of(TensorId id) const {
    const auto sum = called(net_, id, body_);
    if (!sum || sum->fn != Fn::add || sum->tensors.size() != 2) return {};
    std::vector<TensorId> terms;
    for (size_t k = 0; k < 2; ++k) {
      if (sum->tensors[k] != kNone) {
        terms.push_back(sum->tensors[k]);
      } else if (sum->numbers[k] != 0) {
        return {};
      }
    }
    return terms;
  }

  /// Whether a sum is only a part of another one.
  bool is_inner(TensorId id) const {
    const LayerId reader = sole_consumer(net_, id, body_);
    if (reader == kNone) return false;
    const TensorId whole = net_.bodies[body_].layers[reader].outputs[0];
    return !terms_of(whole).empty() && net_.type(whole, body_).dtype == net_.type(id, body_).dtype && shape(whole) == shape(id);
  }

  void flatten(TensorId id, TensorId root, std::vector<TensorId>& terms) const {
    const bool whole = id == root || (!constant_[id] && sole_consumer(net_, id, body_) != kNone && is_inner(id));
    const std::vector<TensorId> parts = whole ? terms_of(id) : std::vector<TensorId>{};
    if (parts.empty()) return terms.push_back(id);
    for (TensorId part : parts) flatten(part, root, terms);
  }

  /// The convolution that makes a term which nothing else reads, when its weight may be changed.
  const Layer* conv_of(TensorId id) const {
    const auto* conv = made_by<Conv>(net_, id, body_);
    if (!conv || conv->transposed || !conv->epilogue.empty() || sole_consumer(net_, id, body_) == kNone) return nullptr;
    const Layer* layer = net_.producer(id, body_);
    return layer->inputs.size() == 2 && constant_[layer->inputs[1]] ? layer : nullptr;
  }

  std::vector<int64_t> window(const Layer& conv) const {
    std::vector<int64_t> sizes;
    for (size_t d = 2; d < shape(conv.inputs[1]).size(); ++d) sizes.push_back(shape(conv.inputs[1])[d].is_const() ? shape(conv.inputs[1])[d].value() : 0);
    return sizes;
  }

  /// Where a window of `sizes` behind a padding of `before` lies within that of `base`; nothing when a part of it does not.
  std::optional<std::vector<int64_t>> shift_in(const Layer& base, const std::vector<int64_t>& sizes, const std::vector<int64_t>& before) const {
    const auto& op = std::get<Conv>(base.op);
    const std::vector<int64_t> whole = window(base);
    std::vector<int64_t> shift;
    for (size_t d = 0; d < whole.size(); ++d) {
      shift.push_back(op.pad_before[d] - before[d]);
      const bool same = shift[d] == 0 && sizes[d] == whole[d];
      if (!same && (op.dilation[d] != 1 || shift[d] < 0 || shift[d] + sizes[d] > whole[d])) return std::nullopt;
    }
    return shift;
  }

  std::optional<Branch> convolution(const Layer& base, TensorId term) const {
    const Layer* other = conv_of(term);
    if (!other || other == &base || other->inputs[0] != base.inputs[0]) return std::nullopt;
    const auto &op = std::get<Conv>(base.op), &o = std::get<Conv>(other->op);
    const bool like = o.stride == op.stride && o.dilation == op.dilation && o.groups == op.groups && o.tf32 == op.tf32 && o.type == op.type;
    if (!like || net_.type(other->inputs[1], body_).dtype != net_.type(base.inputs[1], body_).dtype) return std::nullopt;
    const auto shift = shift_in(base, window(*other), o.pad_before);
    return shift ? std::optional(Branch{term, other->inputs[1], false, *shift}) : std::nullopt;
  }

  /// x times a constant per channel.
  std::optional<Branch> factor(const Layer& base, TensorId term) const {
    const auto product = called(net_, term, body_);
    const TensorId x = base.inputs[0];
    if (!product || product->fn != Fn::mul || product->tensors.size() != 2 || sole_consumer(net_, term, body_) == kNone) return std::nullopt;
    const bool first = product->tensors[0] == x;
    const TensorId s = product->tensors[first ? 1 : 0];
    if (s == kNone || !constant_[s] || product->tensors[first ? 0 : 1] != x) return std::nullopt;
    const auto& op = std::get<Conv>(base.op);
    const Shape& image = shape(x);
    const bool moves_by_one = std::all_of(op.stride.begin(), op.stride.end(), [](int64_t step) { return step == 1; });
    if (!moves_by_one || image != shape(base.outputs[0]) || !image[1].is_const() || (op.groups != 1 && op.groups != image[1].value())) return std::nullopt;
    if (!varies_along(shape(s), static_cast<int>(image.size()), 1) || !is_float(net_.type(s, body_).dtype)) return std::nullopt;
    const auto shift = shift_in(base, std::vector<int64_t>(op.stride.size(), 1), std::vector<int64_t>(op.stride.size(), 0));
    return shift ? std::optional(Branch{term, s, true, *shift}) : std::nullopt;
  }

  std::optional<Merge> find(const std::vector<TensorId>& terms, TensorId root) const {
    Merge best;
    for (TensorId candidate : terms) {
      const Layer* base = conv_of(candidate);
      if (!base || shape(candidate) != shape(root)) continue;
      const std::vector<int64_t> sizes = window(*base);
      if (std::count(sizes.begin(), sizes.end(), 0) != 0) continue;
      Merge merge{candidate, {}, {}};
      std::vector<TensorId> others;
      for (TensorId term : terms) {
        if (term == candidate) continue;
        auto branch = convolution(*base, term);
        if (!branch) branch = factor(*base, term);
        if (branch) {
          merge.branches.push_back(*branch);
        } else {
          (constant_[term] ? merge.rest : others).push_back(term);
        }
      }
      merge.rest.insert(merge.rest.end(), others.begin(), others.end());
      if (merge.branches.size() > best.branches.size()) best = std::move(merge);
    }
    return best.branches.empty() ? std::nullopt : std::optional(std::move(best));
  }

  // -- rewriting

  /// [C] values as a weight of one pixel: [C, 1, 1...] of a depthwise convolution, [C, C, 1...] with zeros beside the diagonal of any other.
  TensorId pixel_weight(TensorId s, const Shape& w, DType type, const Origins& origins) {
    const Dim channels = w[0];
    Shape column(w.size(), Dim(1));
    column[0] = channels;
    TensorId values = net_.pointwise(Fn::mul, {net_.add1(Fill{type, {channels}, 1}, {}, origins, body_), flat(s, origins)}, type, origins, body_);
    values = net_.add1(Reshape{column}, {values}, origins, body_);
    if (w[1].is_const(1)) return values;
    const TensorId index = net_.add1(Iota{DType::I64, channels, Dim(0)}, {}, origins, body_);
    Shape row(w.size(), Dim(1));
    row[1] = channels;
    const TensorId rows = net_.add1(Reshape{column}, {index}, origins, body_), columns = net_.add1(Reshape{row}, {index}, origins, body_);
    const TensorId diagonal = net_.pointwise(Fn::eq, {rows, columns}, DType::Bool, origins, body_);
    return net_.pointwise(Fn::mul, {diagonal, values}, type, origins, body_);
  }
  TensorId flat(TensorId s, const Origins& origins) { return net_.add1(Reshape{{numel(shape(s))}}, {s}, origins, body_); }

  /// The branch's weight with zeros around it.
  TensorId padded(TensorId weight, const Shape& w, const std::vector<int64_t>& shift, const Origins& origins) {
    Pad pad{std::vector<int64_t>(w.size(), 0), std::vector<int64_t>(w.size(), 0)};
    bool any = false;
    for (size_t d = 2; d < w.size(); ++d) {
      pad.before[d] = shift[d - 2];
      pad.after[d] = w[d].value() - shape(weight)[d].value() - shift[d - 2];
      any |= pad.before[d] != 0 || pad.after[d] != 0;
    }
    return any ? net_.add1(std::move(pad), {weight}, origins, body_) : weight;
  }

  void rewrite(TensorId root, const Merge& merge) {
    Layer base = *net_.producer(merge.base, body_);  // by value: adding layers moves the vector
    const Shape w = shape(base.inputs[1]);
    const DType type = net_.type(base.inputs[1], body_).dtype, out = net_.type(root, body_).dtype;
    for (const Branch& branch : merge.branches) {
      const Origins& from = net_.producer(branch.term, body_)->origins;
      base.origins.insert(from.begin(), from.end());
    }
    for (const Branch& branch : merge.branches) {
      const TensorId weight = branch.is_factor ? pixel_weight(branch.weight, w, type, base.origins) : branch.weight;
      base.inputs[1] = net_.pointwise(Fn::add, {base.inputs[1], padded(weight, w, branch.shift, base.origins)}, type, base.origins, body_);
    }
    TensorId sum = net_.add1(base.op, base.inputs, base.origins, body_), constants = kNone;
    for (TensorId term : merge.rest) {
      if (!constant_[term]) continue;
      constants = constants == kNone ? term : net_.pointwise(Fn::add, {constants, term}, compute_type(out), base.origins, body_);
    }
    const Origins origins = net_.producer(root, body_)->origins;
    if (constants != kNone) sum = net_.pointwise(Fn::add, {sum, constants}, out, origins, body_);
    for (TensorId term : merge.rest) {
      if (!constant_[term]) sum = net_.pointwise(Fn::add, {sum, term}, out, origins, body_);
    }
    if (net_.type(sum, body_).dtype != out) sum = net_.cast(sum, out, origins, body_);
    net_.replace(root, sum, body_);
  }

  Network& net_;
  int body_;
  std::vector<bool> constant_;
};

}  // namespace

bool merge_convs(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    while (ConvMerger(net, body).run()) changed = true;
  }
  return changed;
}

}  // namespace tuyere
