// SPDX-License-Identifier: Apache-2.0
// x = matmul(a, v), y = matmul(norm(x) * g + b, w) => x, parts = norm_matmul(a, v) sums; y = norm_matmul(x, center(w * g), b @ w, parts) normalizes
// On Hopper: the product before the norm writes the sums of its rows' parts, and the product after it scales its results by them, so that no kernel between the
// two reads x. norm(x) = (x - u) * r with a mean and a deviation per row, and (x - u) @ w = x @ center(w), where each column of w has its mean taken away:
//   (norm(x) * g + b) @ w = r * (x @ center(w * g)) + b @ w
// The weights become others, which costs their memory when they could have been shared. Where they are larger than x, root mean squares, which have nothing to
// center, leave them and take x * g as a further result of the product before, with g divided by its largest value so that it is no larger than x:
//   x, s, parts = norm_matmul(a, v, g / c) sums; y = norm_matmul(s, w, c, parts) normalizes
// x may have other readers (residual connections), the norm only products. See tests/unit/passes/fuse_norms.cpp
#include <algorithm>
#include <numeric>

#include "core/passes/passes.h"
#include "core/passes/util.h"
#include "kernels/api/norm_product.h"

namespace tuyere {
namespace {

/// Operations of a product that takes so long that the norm before it does not count, while libraries may have a faster kernel for it.
constexpr double kLong = 1e11;

class NormFusion {
 public:
  NormFusion(Network& net, int body, const PassContext& context) : net_(net), body_(body), context_(context) {}

  bool run() {
    net_.sort(body_);
    bool changed = false;
    for (LayerId id : live(net_, body_)) {
      constant_ = constant_tensors(net_.bodies[body_]);
      if (fits(id)) fuse(id), changed = true;
    }
    return changed;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const TensorType& type(TensorId id) const { return net_.type(id, body_); }
  bool is_constant(TensorId id) const { return id < static_cast<TensorId>(constant_.size()) && constant_[id]; }

  bool fits(LayerId id) const {
    if (layer(id).dead) return false;
    const auto* norm = std::get_if<Norm>(&layer(id).op);
    if (!norm || norm->kind == NormKind::group || norm->axes != 1 || norm->statistics || !norm->prologue.empty() || !norm->epilogue.empty()) return false;
    const TensorId x = layer(id).inputs[0], y = layer(id).outputs[0];
    if (type(x).shape.size() < 2 || type(x).dtype != type(y).dtype || net_.tensor(x, body_).observed) return false;
    for (size_t k = 1; k < layer(id).inputs.size(); ++k)
      if (!is_constant(layer(id).inputs[k])) return false;
    if (!only_products_read(y) || !gives_sums(producer_of_rows(x))) return false;
    return norm->kind == NormKind::rms || weights_are_small(x, y);
  }

  /// Whether other weights take no more memory than the rows.
  bool weights_are_small(TensorId x, TensorId y) const {
    int64_t rows = 0;
    return numel(type(x).shape).try_eval(context_.hints, &rows) && weights_of_readers(y) <= rows;
  }
  int64_t weights_of_readers(TensorId y) const {
    int64_t count = 0;
    for (LayerId id : net_.consumers(y, body_)) {
      if (keeps_rows(id)) {
        count += weights_of_readers(layer(id).outputs[0]);
        continue;
      }
      for (int k = 1; k < as_norm_product(layer(id).op)->matrices(); ++k) count += numel(type(layer(id).inputs[static_cast<size_t>(k)]).shape).value();
    }
    return count;
  }

  /// A view that leaves rows what they are.
  bool keeps_rows(LayerId id) const {
    if (id == kNone || !std::holds_alternative<Reshape>(layer(id).op)) return false;
    const Shape &from = type(layer(id).inputs[0]).shape, &to = type(layer(id).outputs[0]).shape;
    return from.size() >= 2 && to.size() >= 2 && from.back() == to.back();
  }

  LayerId producer_of_rows(TensorId x) const {
    LayerId id = net_.tensor(x, body_).producer;
    while (keeps_rows(id)) id = net_.tensor(layer(id).inputs[0], body_).producer;
    return id;
  }

  bool only_products_read(TensorId y) const {
    const auto& outputs = net_.bodies[body_].outputs;
    const std::vector<LayerId> readers = net_.consumers(y, body_);
    if (readers.empty() || net_.tensor(y, body_).observed || std::find(outputs.begin(), outputs.end(), y) != outputs.end()) return false;
    return std::all_of(readers.begin(), readers.end(),
                       [&](LayerId id) { return keeps_rows(id) ? only_products_read(layer(id).outputs[0]) : reads_rows(id, y) && is_own_product(id); });
  }

  /// A product whose rows are `y`, and nothing else is.
  bool reads_rows(LayerId id, TensorId y) const {
    const auto product = as_norm_product(layer(id).op);
    if (!product || product->normalizes || layer(id).inputs[0] != y || std::count(layer(id).inputs.begin(), layer(id).inputs.end(), y) != 1) return false;
    return std::all_of(layer(id).inputs.begin() + 1, layer(id).inputs.begin() + product->matrices(), [&](TensorId w) { return is_constant(w); });
  }

  bool gives_sums(LayerId id) const {
    if (id == kNone || layer(id).outputs.size() != 1) return false;
    const auto product = as_norm_product(layer(id).op);
    const Dim& columns = type(layer(id).outputs[0]).shape.back();
    return product && columns.is_const() && columns.value() % kNormPart == 0 && is_own_product(id);
  }

  /// Own kernels are as fast as any for it, and it does not take long.
  bool is_own_product(LayerId id) const {
    const auto product = as_norm_product(layer(id).op);
    const auto* matmul = std::get_if<MatMul>(&layer(id).op);
    if (matmul && matmul->trans_a) return false;
    Layer plain = layer(id);  // the question is about one product
    plain.op = MatMul{.trans_b = product->trans_b};
    if (!is_hopper_product(net_, plain, body_, context_)) return false;
    int64_t results = 0;
    if (!numel(type(plain.outputs[0]).shape).try_eval(context_.hints, &results)) return false;
    const double depth = static_cast<double>(type(plain.inputs[0]).shape.back().value());
    return 2.0 * static_cast<double>(results) * depth * (product->gated ? 2 : 1) <= kLong;
  }

  /// What the norm is, and what is made of it: rows (scaled or not) with the parts of their sums, and the factor that scaling left out, or none.
  struct Sums {
    Norm op;
    TensorId weight = kNone, bias = kNone;
    Origins origins;
    TensorId rows = kNone, parts = kNone, factor = kNone;
    bool folds() const { return factor == kNone; }
  };

  void fuse(LayerId id) {
    const Layer norm = layer(id);  // by value: adding layers moves the vector
    Sums sums{std::get<Norm>(norm.op)};
    sums.origins = norm.origins;
    if (sums.op.has_weight) sums.weight = net_.cast(norm.inputs[1], DType::F32, norm.origins, body_);
    if (sums.op.has_bias) sums.bias = norm.inputs.back();
    TensorId scale = kNone;
    if (sums.weight != kNone && !weights_are_small(norm.inputs[0], norm.outputs[0])) {
      sums.factor = largest_of(sums.weight, norm.origins);
      scale = net_.pointwise(Fn::div, {sums.weight, sums.factor}, DType::F32, norm.origins, body_);
    }
    write_sums(producer_of_rows(norm.inputs[0]), scale, sums);
    read_all(norm.outputs[0], sums);
    net_.erase(id, body_);
  }

  /// The products that read `y`, or views of it.
  void read_all(TensorId y, const Sums& sums) {
    for (LayerId reader : net_.consumers(y, body_)) {
      if (!keeps_rows(reader)) {
        read_sums(reader, sums);
        continue;
      }
      read_all(layer(reader).outputs[0], sums);
      net_.erase(reader, body_);
    }
  }

  TensorId largest_of(TensorId vector, const Origins& origins) {
    Program at_least;
    at_least.inputs = {DType::F32};
    at_least.outputs = {static_cast<int16_t>(at_least.add(Fn::max, {0, at_least.constant(1e-30, DType::F32)}))};
    const Reduce largest{.kind = ReduceKind::max, .axes = {0}, .keepdim = true, .type = DType::F32, .epilogue = at_least};
    return net_.add1(largest, {net_.pointwise(Fn::abs, {vector}, DType::F32, origins, body_)}, origins, body_);
  }

  /// The producer of the norm's rows writes their sums, and the rows times `scale` if there is one.
  void write_sums(LayerId id, TensorId scale, Sums& sums) {
    Layer producer = layer(id);
    NormMatMul op = *as_norm_product(producer.op);
    op.sums = true;
    if (scale != kNone) {
      const int parts = op.normalizes ? 1 : 0;
      if (op.epilogue.empty()) op.epilogue.inputs = {DType::F32}, op.epilogue.outputs = {0};
      op.epilogue = with_scaled(op.epilogue);
      producer.inputs.insert(producer.inputs.end() - parts, scale);
    }
    const std::vector<TensorId> results = net_.add(op, producer.inputs, producer.origins, body_);
    net_.replace(producer.outputs[0], results[0], body_);
    net_.erase(id, body_);
    sums.rows = results[scale == kNone ? 0 : 1];
    sums.parts = results.back();
  }

  /// The program with its output times a further input as second output.
  static Program with_scaled(const Program& program) {
    Program both;
    both.inputs = program.inputs;
    both.inputs.push_back(DType::F32);
    std::vector<int> inputs(program.inputs.size());
    std::iota(inputs.begin(), inputs.end(), 0);
    const int result = append(both, program, inputs)[0], scaled = both.add(Fn::mul, {result, static_cast<int>(inputs.size())});
    both.outputs = {static_cast<int16_t>(result), static_cast<int16_t>(scaled)};
    return simplify(both);
  }

  void read_sums(LayerId id, const Sums& sums) {
    Layer reader = layer(id);
    NormMatMul product = *as_norm_product(reader.op);
    if (product.epilogue.empty()) product.epilogue.inputs = {DType::F32}, product.epilogue.outputs = {0};
    product.normalizes = true, product.kind = sums.op.kind, product.eps = sums.op.eps;
    const int matrices = product.matrices(), products = matrices - 1;
    std::vector<TensorId> inputs(reader.inputs.begin(), reader.inputs.begin() + matrices), extras(reader.inputs.begin() + matrices, reader.inputs.end());
    const Shape shape = type(inputs[0]).shape;
    inputs[0] = in_shape(sums.rows, shape, sums.origins);
    std::vector<int> shifts(static_cast<size_t>(products), -1);  // extras that are added to a product
    for (int q = 0; q < products; ++q) {
      TensorId& w = inputs[static_cast<size_t>(1 + q)];
      if (sums.bias != kNone) shifts[static_cast<size_t>(q)] = add_shift(shifted_columns(w, product.trans_b, sums), product.epilogue, q, products, extras);
      if (sums.folds()) w = folded(w, product.trans_b, sums);
    }
    if (!sums.folds()) extras.push_back(sums.factor);
    product.epilogue = normalized(product.epilogue, products, extras, shifts, !sums.folds());
    inputs.insert(inputs.end(), extras.begin(), extras.end());
    Shape parts(shape.begin(), shape.end() - 1);
    parts.push_back(shape.back().value() / kNormPart), parts.push_back(2);
    inputs.push_back(in_shape(sums.parts, parts, sums.origins));
    reader.origins.insert(sums.origins.begin(), sums.origins.end());
    const std::vector<TensorId> results = net_.add(product, inputs, reader.origins, body_);
    for (size_t k = 0; k < results.size(); ++k) net_.replace(reader.outputs[k], results[k], body_);
    net_.erase(id, body_);
  }

  TensorId in_shape(TensorId id, const Shape& shape, const Origins& origins) {
    return type(id).shape == shape ? id : net_.add1(Reshape{shape}, {id}, origins, body_);
  }

  /// A vector of the norm along the rows of a weight.
  TensorId along_rows(TensorId vector, bool trans_b, const Origins& origins) {
    return trans_b ? vector : net_.add1(Reshape{{type(vector).shape[0], 1}}, {vector}, origins, body_);
  }

  /// The norm's bias times a weight; f32.
  TensorId shifted_columns(TensorId w, bool trans_b, const Sums& sums) {
    Reduce sum{.axes = {trans_b ? 1 : 0}, .type = DType::F32};
    sum.prologue.inputs = {DType::F32, DType::F32};
    sum.prologue.outputs = {static_cast<int16_t>(sum.prologue.add(Fn::mul, {0, 1}))};
    return net_.add1(sum, {w, along_rows(net_.cast(sums.bias, DType::F32, sums.origins, body_), trans_b, sums.origins)}, sums.origins, body_);
  }

  /// The weight times the norm's, centered along its rows for layer norms.
  TensorId folded(TensorId w, bool trans_b, const Sums& sums) {
    const DType stored = type(w).dtype;
    const bool layers = sums.op.kind == NormKind::layer;
    if (sums.weight != kNone)
      w = net_.pointwise(Fn::mul, {w, along_rows(sums.weight, trans_b, sums.origins)}, layers ? DType::F32 : stored, sums.origins, body_);
    if (!layers) return w;
    const Reduce mean{.kind = ReduceKind::mean, .axes = {trans_b ? 1 : 0}, .keepdim = true, .type = DType::F32};
    return net_.pointwise(Fn::sub, {w, net_.add1(mean, {w}, sums.origins, body_)}, stored, sums.origins, body_);
  }

  /// Adds a vector to the bias that the epilogue adds to product q, or makes it a further input, whose number among the extras is the result.
  int add_shift(TensorId shift, const Program& epilogue, int q, int products, std::vector<TensorId>& extras) {
    const std::vector<int> uses = input_uses(epilogue);
    for (const Inst& inst : epilogue.body)
      for (int k = 0; k < 2; ++k) {
        const int bias = inst.args[static_cast<size_t>(1 - k)];
        if (inst.fn != Fn::add || inst.args[static_cast<size_t>(k)] != q || bias < products || bias >= static_cast<int>(epilogue.inputs.size())) continue;
        TensorId& extra = extras[static_cast<size_t>(bias - products)];
        if (uses[static_cast<size_t>(q)] != 1 || uses[static_cast<size_t>(bias)] != 1 || !is_constant(extra) || type(extra).shape != type(shift).shape)
          continue;
        extra = net_.pointwise(Fn::add, {extra, shift}, type(extra).dtype, {}, body_);
        return -1;
      }
    extras.push_back(shift);
    return static_cast<int>(extras.size()) - 1;
  }

  /// `epilogue` of products times 1 / deviation (and times the last extra, if `scaled`), plus those shifts that no bias took.
  Program normalized(const Program& epilogue, int products, const std::vector<TensorId>& extras, const std::vector<int>& shifts, bool scaled) const {
    Program p;
    p.inputs.assign(static_cast<size_t>(products + 1), DType::F32);
    for (TensorId extra : extras) p.inputs.push_back(compute_type(type(extra).dtype));
    const int first = products + 1, last = static_cast<int>(p.inputs.size()) - 1;
    const int factor = scaled ? p.add(Fn::mul, {products, last}) : products;
    std::vector<int> value;  // of each input of the epilogue
    for (int q = 0; q < products; ++q) {
      const int product = p.add(Fn::mul, {q, factor}), shift = shifts[static_cast<size_t>(q)];
      value.push_back(shift < 0 ? product : p.add(Fn::add, {product, first + shift}));
    }
    for (int k = first; value.size() < epilogue.inputs.size(); ++k) value.push_back(k);
    for (int out : append(p, epilogue, value)) p.outputs.push_back(static_cast<int16_t>(out));
    return simplify(p);
  }

  Network& net_;
  int body_;
  const PassContext& context_;
  std::vector<bool> constant_;
};

}  // namespace

bool fuse_norms(Network& net, const PassContext& context) {
  if (!context.target.is_cuda() || !is_hopper(context.target) || !context.own_kernels) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= NormFusion(net, body, context).run();
  return changed;
}

}  // namespace tuyere
