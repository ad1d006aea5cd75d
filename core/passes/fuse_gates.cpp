// SPDX-License-Identifier: Apache-2.0
// matmul(x, w, matmul(x, v)) epilogue={f(i0, i1)} => gated_matmul(x, w, v) epilogue={f(i0, i1)}
// y = matmul(x, w); f(y[..., :n/2], y[..., n/2:]) => gated_matmul(x, w[:n/2], w[n/2:]) epilogue={f(i0, i1)}        also y[..., ::2] and y[..., 1::2]
// On Hopper, where products have any epilogue: the gate of a gated unit never goes through memory, and its rows are read once. Weights stay as they are, so
// that they can be shared: halves of a packed one are views of it, but for every other one of contiguous columns, which the weight program copies.
// See tests/unit/passes/fuse_gates.cpp
#include <algorithm>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// A product that can be one of two.
const MatMul* product(const Network& net, const Layer& layer, int body, const PassContext& context) {
  const auto* matmul = std::get_if<MatMul>(&layer.op);
  return matmul && !layer.dead && !matmul->trans_a && layer.outputs.size() == 1 && is_hopper_product(net, layer, body, context) ? matmul : nullptr;
}

/// The formula with inputs `first` and `second` before all others.
Composed in_front(const Composed& c, TensorId first, TensorId second) {
  std::vector<int> order;
  for (TensorId id : {first, second}) order.push_back(static_cast<int>(std::find(c.inputs.begin(), c.inputs.end(), id) - c.inputs.begin()));
  for (int k = 0; k < static_cast<int>(c.inputs.size()); ++k)
    if (k != order[0] && k != order[1]) order.push_back(k);
  Composed result{permute_inputs(c.program, order), {}};
  for (int k : order) result.inputs.push_back(c.inputs[static_cast<size_t>(k)]);
  return result;
}

/// An epilogue as a formula of its product.
Program formula_of(const MatMul& op) { return op.epilogue.empty() ? Program{.inputs = {DType::F32}, .body = {}, .outputs = {0}} : op.epilogue; }

/// main's epilogue with `gate` computed by inner's: inputs both products, then what either reads.
Composed joined(const Network& net, const Layer& main, const Layer& inner, TensorId gate, int body) {
  std::vector<TensorId> outer_inputs{main.outputs[0]}, inner_inputs{gate};
  outer_inputs.insert(outer_inputs.end(), main.inputs.begin() + 2, main.inputs.end());
  inner_inputs.insert(inner_inputs.end(), inner.inputs.begin() + 2, inner.inputs.end());
  const Composed c = compose_through(std::get<MatMul>(main.op).epilogue, outer_inputs, gate, formula_of(std::get<MatMul>(inner.op)), inner_inputs, 0,
                                     net.type(gate, body).dtype, 1);
  return in_front(c, main.outputs[0], gate);
}

/// `id`: the product with the joining epilogue.
bool fuse_gate(Network& net, LayerId id, int body, const PassContext& context) {
  const Layer main = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  const MatMul* op = product(net, main, body, context);
  if (!op) return false;
  for (size_t slot = 2; slot < main.inputs.size(); ++slot) {
    const TensorId gate = main.inputs[slot];
    const LayerId other = net.tensor(gate, body).producer;
    if (other == kNone || sole_consumer(net, gate, body) != id) continue;
    const Layer inner = net.bodies[body].layers[other];
    const MatMul* second = product(net, inner, body, context);
    if (!second || inner.inputs[0] != main.inputs[0] || second->trans_b != op->trans_b) continue;
    if (net.type(inner.inputs[1], body).shape != net.type(main.inputs[1], body).shape) continue;
    if (net.type(gate, body).shape != net.type(main.outputs[0], body).shape) continue;
    const Composed c = joined(net, main, inner, gate, body);
    std::vector<TensorId> inputs{main.inputs[0], main.inputs[1], inner.inputs[1]};
    inputs.insert(inputs.end(), c.inputs.begin() + 2, c.inputs.end());
    Origins origins = main.origins;
    origins.insert(inner.origins.begin(), inner.origins.end());
    const GatedMatMul gated{.trans_b = op->trans_b, .type = op->type, .epilogue = c.program};
    net.replace(main.outputs[0], net.add1(gated, std::move(inputs), std::move(origins), body), body);
    net.erase(id, body);
    net.erase(other, body);
    return true;
  }
  return false;
}

/// Columns start, start + step, ... of a product.
struct Columns {
  TensorId product;
  int64_t start, step;
};

/// What a view of a product shows: a slice of its columns, or reshape(slice(reshape(product))) where the columns were seen as a matrix of which it is one row
/// or column.
std::optional<Columns> columns_of(const Network& net, TensorId view, int body) {
  const auto* reshape = made_by<Reshape>(net, view, body);
  const TensorId part = reshape ? net.producer(view, body)->inputs[0] : view;
  const auto* slice = made_by<Slice>(net, part, body);
  if (!slice || !slice->start.is_const() || !slice->end.is_const()) return std::nullopt;
  const TensorId whole = net.producer(part, body)->inputs[0];
  if (!reshape) {
    if (slice->axis + 1 != static_cast<int64_t>(net.type(whole, body).shape.size())) return std::nullopt;
    return Columns{whole, slice->start.value(), slice->step};
  }
  if (!made_by<Reshape>(net, whole, body) || slice->end.value() != slice->start.value() + 1) return std::nullopt;
  const TensorId product = net.producer(whole, body)->inputs[0];
  const Shape &rows = net.type(product, body).shape, &apart = net.type(whole, body).shape, &shown = net.type(view, body).shape;
  if (apart.size() != rows.size() + 1 || shown.size() != rows.size() || !apart.back().is_const()) return std::nullopt;
  if (!std::equal(rows.begin(), rows.end() - 1, apart.begin()) || !std::equal(rows.begin(), rows.end() - 1, shown.begin())) return std::nullopt;
  const int64_t wide = apart.back().value(), start = slice->start.value();
  if (slice->axis + 1 == static_cast<int64_t>(apart.size())) return Columns{product, start, wide};
  return slice->axis + 2 == static_cast<int64_t>(apart.size()) ? std::optional(Columns{product, start * wide, 1}) : std::nullopt;
}

/// Whether nothing but layer `reader` reads the tensor, by itself or by views.
bool read_only_by(const Network& net, TensorId id, LayerId reader, int body) {
  const std::vector<LayerId> readers = net.consumers(id, body);
  if (net.tensor(id, body).observed || std::count(net.bodies[body].outputs.begin(), net.bodies[body].outputs.end(), id) > 0) return false;
  return std::all_of(readers.begin(), readers.end(), [&](LayerId next) {
    const Layer& layer = net.bodies[body].layers[next];
    return next == reader || (group(layer.op) == OpGroup::view && read_only_by(net, layer.outputs[0], reader, body));
  });
}

/// A formula of both halves of a product's columns, to be one gated product.
class PackedGate {
 public:
  PackedGate(Network& net, LayerId id, const std::vector<bool>& constant, int body) : net_(net), body_(body), id_(id), constant_(constant) {}

  bool fuse(const PassContext& context) {
    const Layer here = layer(id_);  // by value: adding layers moves the vector
    const auto* pointwise = std::get_if<Pointwise>(&here.op);
    if (!pointwise || pointwise->types.size() != 1 || !find_halves(here) || !takes(here, context)) return false;
    const Layer product = layer(product_);
    const auto& op = std::get<MatMul>(product.op);
    const std::optional<TensorId> w = weight(product.inputs[1], op.trans_b ? 0 : 1);
    if (!w) return false;
    Composed c{pointwise->program, here.inputs};
    for (const Half& half : halves_) {
      std::vector<TensorId> inner{half.view};
      for (size_t k = 2; k < product.inputs.size(); ++k) inner.push_back(vector_part(product.inputs[k], half.columns));
      c = compose_through(c.program, c.inputs, half.view, formula_of(op), inner, 0, type(half.view).dtype);
    }
    c = in_front(c, halves_[0].view, halves_[1].view);
    if (c.inputs.size() > kMaxInputs) return false;
    std::vector<TensorId> inputs{product.inputs[0]};
    for (const Half& half : halves_) inputs.push_back(part(*w, op.trans_b ? 0 : 1, half.columns));
    inputs.insert(inputs.end(), c.inputs.begin() + 2, c.inputs.end());
    Origins origins = here.origins;
    origins.insert(product.origins.begin(), product.origins.end());
    const GatedMatMul gated{.trans_b = op.trans_b, .type = pointwise->types[0], .epilogue = c.program};
    net_.replace(here.outputs[0], net_.add1(gated, std::move(inputs), std::move(origins), body_), body_);
    net_.erase(id_, body_);
    return true;
  }

 private:
  static constexpr size_t kMaxInputs = 8;
  static constexpr int64_t kColumns = 64, kUnit = 8;  // of a half, as of any product

  struct Half {
    TensorId view;
    Columns columns;
  };

  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const TensorType& type(TensorId id) const { return net_.type(id, body_); }

  /// Two inputs, each of other columns, all of one product that nobody else reads.
  bool find_halves(const Layer& here) {
    const Dim& wide = type(here.outputs[0]).shape.empty() ? Dim(1) : type(here.outputs[0]).shape.back();
    if (!wide.is_const() || wide.value() < kColumns || wide.value() % kUnit != 0) return false;
    count_ = wide.value();
    for (TensorId in : here.inputs) {
      const std::optional<Columns> columns = columns_of(net_, in, body_);
      if (!columns || (!halves_.empty() && (halves_[0].view == in || halves_[0].columns.product != columns->product))) continue;
      halves_.push_back({in, *columns});
      if (halves_.size() == 2) break;
    }
    if (halves_.size() != 2) return false;
    const Columns &a = halves_[0].columns, &b = halves_[1].columns;
    const int64_t next = a.step == 1 ? count_ : 1;
    product_ = net_.tensor(a.product, body_).producer;
    return a.step == b.step && (a.step == 1 || a.step == 2) && a.start != b.start && (a.start == 0 || a.start == next) && (b.start == 0 || b.start == next) &&
           type(a.product).shape.back().is_const(2 * count_) && product_ != kNone && read_only_by(net_, a.product, id_, body_);
  }

  /// Whether the product and everything else that the formula reads are what an epilogue on Hopper takes.
  bool takes(const Layer& here, const PassContext& context) const {
    const TensorType& out = type(here.outputs[0]);
    if (!product(net_, layer(product_), body_, context) || out.dtype != type(halves_[0].columns.product).dtype) return false;
    const int rank = static_cast<int>(out.shape.size());
    for (const Half& half : halves_)
      if (type(half.view).shape != out.shape) return false;
    const auto along_columns = [&](TensorId in) { return varies_along(type(in).shape, rank, rank - 1); };
    return std::all_of(layer(product_).inputs.begin() + 2, layer(product_).inputs.end(), along_columns) &&
           std::all_of(here.inputs.begin(), here.inputs.end(),
                       [&](TensorId in) { return (type(in).shape == out.shape && type(in).dtype == out.dtype) || along_columns(in); });
  }

  /// The packed matrix with columns that may be taken apart: every other of contiguous ones would be read by values, so that a constant is turned.
  std::optional<TensorId> weight(TensorId w, int64_t axis) {
    if (halves_[0].columns.step == 1 || memory_order(net_, w, body_).back() != static_cast<int>(axis)) return w;
    if (!constant_[w]) return std::nullopt;
    const Origins origins = layer(product_).origins;
    const Permute turn{{1, 0}};
    return net_.add1(turn, {identity(net_, net_.add1(turn, {w}, origins, body_), origins, body_)}, origins, body_);
  }

  TensorId part(TensorId whole, int64_t axis, const Columns& columns) {
    const Slice slice{axis, columns.start, columns.start + (count_ - 1) * columns.step + 1, columns.step};
    return net_.add1(slice, {whole}, layer(product_).origins, body_);
  }

  /// Of something that varies along the columns, or not at all; constants become dense.
  TensorId vector_part(TensorId whole, const Columns& columns) {
    const Shape& shape = type(whole).shape;
    if (shape.empty() || shape.back().is_const(1)) return whole;
    const bool copied = columns.step != 1 && constant_[whole];
    const TensorId some = part(whole, static_cast<int64_t>(shape.size()) - 1, columns);
    return copied ? identity(net_, some, layer(product_).origins, body_) : some;
  }

  Network& net_;
  int body_;
  LayerId id_, product_ = kNone;
  const std::vector<bool>& constant_;
  std::vector<Half> halves_;
  int64_t count_ = 0;  // columns of a half
};

}  // namespace

bool fuse_gates(Network& net, const PassContext& context) {
  if (!context.target.is_cuda() || !is_hopper(context.target) || !context.own_kernels) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    net.sort(body);
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) changed |= fuse_gate(net, id, body, context) || PackedGate(net, id, constant, body).fuse(context);
  }
  return changed;
}

}  // namespace tuyere
