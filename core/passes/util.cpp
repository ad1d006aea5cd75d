// SPDX-License-Identifier: Apache-2.0
#include "core/passes/util.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "common/error.h"

namespace tuyere {

std::vector<bool> constant_tensors(const Body& body) {
  std::vector<bool> constant(body.tensors.size(), false);
  for (size_t k = 0; k < body.tensors.size(); ++k) constant[k] = body.tensors[k].constant >= 0;
  for (bool changed = true; changed;) {  // one round when the layers are sorted
    changed = false;
    for (const Layer& layer : body.layers) {
      if (layer.dead || layer.inputs.empty() || group(layer.op) == OpGroup::control || constant[layer.outputs[0]]) continue;
      if (!std::all_of(layer.inputs.begin(), layer.inputs.end(), [&](TensorId id) { return constant[id]; })) continue;
      for (TensorId id : layer.outputs) constant[id] = true;
      changed = true;
    }
  }
  return constant;
}

LayerId sole_consumer(const Network& net, TensorId id, int body) {
  const std::vector<LayerId> readers = net.consumers(id, body);
  if (readers.empty() || std::adjacent_find(readers.begin(), readers.end(), std::not_equal_to<>()) != readers.end()) return kNone;
  const auto& inputs = net.bodies[body].layers[readers[0]].inputs;
  const auto reads = std::count(inputs.begin(), inputs.end(), id);
  return net.uses(id, body) == reads ? readers[0] : kNone;
}

std::optional<PlainCall> plain_call(const Program& program) {
  const int inputs = static_cast<int>(program.inputs.size());
  const auto definition = [&](int value) -> const Inst* { return value < inputs ? nullptr : &program.body[value - inputs]; };
  const auto strip = [&](int value) {
    while (definition(value) && definition(value)->fn == Fn::cast && is_float(definition(value)->type) && is_float(program.type_of(definition(value)->args[0])))
      value = definition(value)->args[0];
    return value;
  };
  if (program.outputs.size() != 1) return std::nullopt;
  const Inst* call = definition(strip(program.outputs[0]));
  if (!call || call->fn == Fn::constant || call->fn == Fn::cast) return std::nullopt;
  PlainCall result{call->fn, {}, {}};
  for (int k = 0; k < info(call->fn).arity; ++k) {
    const int value = strip(call->args[k]);
    const Inst* inst = definition(value);
    if (inst && inst->fn != Fn::constant) return std::nullopt;
    result.inputs.push_back(inst ? -1 : value);
    result.literals.push_back(inst ? inst->value : 0);
  }
  return result;
}

std::optional<Called> called(const Network& net, TensorId id, int body) {
  const auto* op = made_by<Pointwise>(net, id, body);
  const auto call = op && op->types.size() == 1 ? plain_call(op->program) : std::nullopt;
  if (!call) return std::nullopt;
  const Layer& layer = *net.producer(id, body);
  Called result{call->fn, {}, call->literals};
  for (size_t k = 0; k < call->inputs.size(); ++k) {
    TensorId in = call->inputs[k] < 0 ? kNone : layer.inputs[call->inputs[k]];
    const int constant = in == kNone ? -1 : net.tensor(in, body).constant;
    if (constant >= 0 && !net.constants[constant].param && numel(net.type(in, body).shape).is_const(1)) {
      const std::vector<double> values = net.constant_values(in, body);
      if (values.size() == 1) {
        result.numbers[k] = values[0];
        in = kNone;
      }
    }
    result.tensors.push_back(in);
  }
  return result;
}

TensorId source_of_cast(const Network& net, TensorId id, int body) {
  const auto* op = made_by<Pointwise>(net, id, body);
  if (!op || op->types.size() != 1 || op->program.inputs.size() != 1) return kNone;
  const TensorId from = net.producer(id, body)->inputs[0];
  const bool casts = std::all_of(op->program.body.begin(), op->program.body.end(), [](const Inst& inst) { return inst.fn == Fn::cast && is_float(inst.type); });
  return casts && is_float(net.type(from, body).dtype) && is_float(net.type(id, body).dtype) ? from : kNone;
}

TensorId without_casts(const Network& net, TensorId id, int body) {
  for (;;) {
    const TensorId from = source_of_cast(net, id, body);
    if (from == kNone || epsilon(net.type(from, body).dtype) < epsilon(net.type(id, body).dtype)) return id;
    id = from;
  }
}

bool varies_along(const Shape& shape, int rank, int dim) {
  const int offset = rank - static_cast<int>(shape.size());
  for (int k = 0; k < static_cast<int>(shape.size()); ++k) {
    if (k + offset != dim && !shape[k].is_const(1)) return false;
  }
  return offset >= 0;
}

bool is_vector_along(const Shape& shape, int rank, int dim) { return varies_along(shape, rank, dim) && !numel(shape).is_const(1); }

Program permute_inputs(const Program& program, const std::vector<int>& order) {
  INTERNAL_CHECK(order.size() == program.inputs.size(), "order of " << order.size() << " for " << program.inputs.size() << " inputs");
  std::vector<int> position(order.size());
  Program result = program;
  for (size_t k = 0; k < order.size(); ++k) {
    result.inputs[k] = program.inputs[order[k]];
    position[order[k]] = static_cast<int>(k);
  }
  const auto renumber = [&](int16_t& value) {
    if (value >= 0 && value < static_cast<int>(order.size())) value = static_cast<int16_t>(position[value]);
  };
  for (Inst& inst : result.body)
    for (int16_t& arg : inst.args) renumber(arg);
  for (int16_t& output : result.outputs) renumber(output);
  return result;
}

namespace {

/// `program` with output `out` rounded or wrapped as a store to `stored` and a load would. Rounding to a shorter float is skipped on purpose.
Program as_stored(const Program& program, int out, DType stored) {
  Program result = program;
  const int value = result.outputs[out];
  const DType type = result.type_of(value);
  const bool same = type == stored || (is_float(type) && is_float(stored) && compute_type(stored) == compute_type(type));
  if (!same) result.outputs[out] = static_cast<int16_t>(result.cast(value, stored));
  return result;
}

void merge_equal(Composed& c, int fixed) {
  for (size_t b = 1; b < c.inputs.size(); ++b) {
    for (size_t a = static_cast<size_t>(fixed); a < b && b < c.inputs.size(); ++a) {
      if (static_cast<int>(b) < fixed || c.inputs[a] != c.inputs[b] || c.program.inputs[a] != c.program.inputs[b]) continue;
      c.program = merge_inputs(c.program, static_cast<int>(a), static_cast<int>(b));
      c.inputs.erase(c.inputs.begin() + static_cast<std::ptrdiff_t>(b));
      --b;
      break;
    }
  }
}

}  // namespace

Composed compose_through(const Program& outer, const std::vector<TensorId>& outer_inputs, TensorId via, const Program& inner,
                         const std::vector<TensorId>& inner_inputs, int out, DType stored, int fixed) {
  Composed c{outer, outer_inputs};
  for (size_t b = c.inputs.size(); b-- > 1;) {  // one use of `via`, so that one composition is enough
    const size_t a = static_cast<size_t>(std::find(c.inputs.begin(), c.inputs.end(), via) - c.inputs.begin());
    if (c.inputs[b] != via || a == b) continue;
    c.program = merge_inputs(c.program, static_cast<int>(a), static_cast<int>(b));
    c.inputs.erase(c.inputs.begin() + static_cast<std::ptrdiff_t>(b));
  }
  const int slot = static_cast<int>(std::find(c.inputs.begin(), c.inputs.end(), via) - c.inputs.begin());
  const int rest = static_cast<int>(c.inputs.size()) - 1, mine = static_cast<int>(inner_inputs.size());
  c.program = compose(c.program, slot, inner.empty() ? inner : as_stored(inner, out, stored), out);
  c.inputs.erase(c.inputs.begin() + slot);
  c.inputs.insert(c.inputs.end(), inner_inputs.begin(), inner_inputs.end());
  std::vector<int> order(static_cast<size_t>(rest + mine));
  std::iota(order.begin(), order.begin() + mine, rest);
  std::iota(order.begin() + mine, order.end(), 0);
  c.program = permute_inputs(c.program, order);
  std::rotate(c.inputs.begin(), c.inputs.begin() + rest, c.inputs.end());
  merge_equal(c, fixed);
  c.program = simplify(c.program);
  return c;
}

Composed join(const std::vector<Composed>& parts) {
  Composed all;
  std::vector<std::vector<int16_t>> numbers(parts.size());  // per part: its values' numbers in the result
  for (size_t p = 0; p < parts.size(); ++p) {
    for (size_t k = 0; k < parts[p].inputs.size(); ++k) {
      size_t at = 0;
      while (at < all.inputs.size() && (all.inputs[at] != parts[p].inputs[k] || all.program.inputs[at] != parts[p].program.inputs[k])) ++at;
      if (at == all.inputs.size()) {
        all.inputs.push_back(parts[p].inputs[k]);
        all.program.inputs.push_back(parts[p].program.inputs[k]);
      }
      numbers[p].push_back(static_cast<int16_t>(at));
    }
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    for (Inst inst : parts[p].program.body) {
      for (int16_t& arg : inst.args)
        if (arg >= 0) arg = numbers[p][static_cast<size_t>(arg)];
      numbers[p].push_back(static_cast<int16_t>(all.program.inputs.size() + all.program.body.size()));
      all.program.body.push_back(inst);
    }
    for (int16_t output : parts[p].program.outputs) all.program.outputs.push_back(numbers[p][static_cast<size_t>(output)]);
  }
  all.program = simplify(all.program);
  return all;
}

bool depends_on(const Network& net, TensorId id, LayerId on, int body) {
  std::vector<TensorId> stack{id};
  std::set<LayerId> seen;
  while (!stack.empty()) {
    const LayerId producer = net.tensor(stack.back(), body).producer;
    stack.pop_back();
    if (producer == on) return true;
    if (producer == kNone || !seen.insert(producer).second) continue;
    for (TensorId input : net.bodies[body].layers[producer].inputs) stack.push_back(input);
  }
  return false;
}

ProgramCost cost_of(const Program& program) {
  ProgramCost cost;
  for (const Inst& inst : program.body) {
    switch (inst.fn) {
      case Fn::constant:
      case Fn::cast:
        break;
      case Fn::add:
      case Fn::sub:
      case Fn::mul:
      case Fn::neg:
      case Fn::abs:
      case Fn::min:
      case Fn::max:
      case Fn::relu:
      case Fn::square:
      case Fn::clamp:
      case Fn::where:
      case Fn::eq:
      case Fn::ne:
      case Fn::lt:
      case Fn::le:
      case Fn::gt:
      case Fn::ge:
      case Fn::logical_and:
      case Fn::logical_or:
      case Fn::logical_not:
      case Fn::bitwise_and:
      case Fn::bitwise_or:
      case Fn::bitwise_xor:
      case Fn::bitwise_not:
      case Fn::bitwise_left_shift:
      case Fn::bitwise_right_shift:
        ++cost.instructions;
        break;
      default:
        ++cost.instructions;
        cost.expensive = true;
    }
  }
  return cost;
}

namespace {

/// The memory order of a reshaped tensor: dims are matched in groups of equal size; a group of several dims must be one dense run of memory.
/// Empty when there is none (the reshape is a copy).
std::vector<int> reshaped_order(const Shape& from, const std::vector<int>& order, const Shape& to) {
  std::vector<int> position(order.size()), first(from.size(), -1);  // first[f]: first dim of `to` in the group of from's dim f
  std::vector<int> last(from.size(), -1);
  for (size_t k = 0; k < order.size(); ++k) position[order[k]] = static_cast<int>(k);
  size_t f = 0, t = 0;
  while (f < from.size() || t < to.size()) {
    const size_t begin = f, out = t;
    Dim have = f < from.size() ? from[f++] : Dim(1), made = t < to.size() ? to[t++] : Dim(1);
    while (!(have == made)) {
      const bool grow_from = have.is_const() && made.is_const() ? have.value() < made.value() : t - out > f - begin;
      if (grow_from && f < from.size())
        have *= from[f++];
      else if (t < to.size())
        made *= to[t++];
      else if (f < from.size())
        have *= from[f++];
      else
        return {};
    }
    int previous = -1;
    for (size_t k = begin; k < f; ++k) {
      if (from[k].is_const(1)) continue;
      for (int p = previous + 1; previous >= 0 && p < position[k]; ++p)
        if (!from[order[p]].is_const(1)) return {};
      if (previous > position[k]) return {};
      previous = position[k];
    }
    const size_t owner = previous >= 0 ? static_cast<size_t>(order[previous]) : begin;
    if (out == t) continue;
    if (owner >= from.size()) return {};
    first[owner] = static_cast<int>(out);
    last[owner] = static_cast<int>(t);
  }
  std::vector<int> result;
  for (int dim : order)
    for (int k = first[dim]; k < last[dim]; ++k) result.push_back(k);
  return result.size() == to.size() ? result : std::vector<int>{};
}

}  // namespace

std::vector<int> memory_order(const Network& net, TensorId id, int body) {
  const TensorType& type = net.type(id, body);
  std::vector<int> order(type.shape.size());
  std::iota(order.begin(), order.end(), 0);
  if (!type.layout.order.empty()) return type.layout.order;
  const Layer* layer = net.producer(id, body);
  if (!layer) return order;
  if (const auto* permute = std::get_if<Permute>(&layer->op)) {
    const std::vector<int> inner = memory_order(net, layer->inputs[0], body);
    for (size_t k = 0; k < order.size(); ++k)
      order[k] = static_cast<int>(std::find(permute->perm.begin(), permute->perm.end(), inner[k]) - permute->perm.begin());
  } else if (std::holds_alternative<Slice>(layer->op)) {
    return memory_order(net, layer->inputs[0], body);
  } else if (std::holds_alternative<Reshape>(layer->op)) {
    const std::vector<int> view = reshaped_order(net.type(layer->inputs[0], body).shape, memory_order(net, layer->inputs[0], body), type.shape);
    if (!view.empty()) return view;
  }
  return order;
}

bool same_order(const Shape& shape, const std::vector<int>& a, const std::vector<int>& b) {
  const auto wide = [&](std::vector<int> order) {
    std::erase_if(order, [&](int dim) { return shape[dim].is_const(1); });
    return order;
  };
  return wide(a) == wide(b);
}

TensorId identity(Network& net, TensorId id, const Origins& origins, int body) {
  const DType dtype = net.type(id, body).dtype;
  Pointwise op;
  op.program.inputs = {compute_type(dtype)};
  op.program.outputs = {0};
  op.types = {dtype};
  return net.add1(std::move(op), {id}, origins, body);
}

namespace {

/// Whether own kernels multiply by a matrix of `depth` rows on Hopper as fast as libraries do; `out`: a result, its last dimension that of the matrix's
/// columns.
bool is_for_hopper(const TensorType& x, const TensorType& w, const Dim& depth, const Dim& columns, const TensorType& out, const PassContext& context) {
  constexpr int64_t kRows = 256, kColumns = 64, kUnit = 8;  // smaller ones are bound by what they read; rows start at 16 bytes
  if (!is_hopper(context.target) || (x.dtype != DType::F16 && x.dtype != DType::BF16) || w.dtype != x.dtype || out.dtype != x.dtype) return false;
  if (!depth.is_const() || depth.value() == 0 || depth.value() % kUnit != 0) return false;
  if (!columns.is_const() || columns.value() < kColumns || columns.value() % kUnit != 0) return false;
  int64_t count = 0;
  return numel(out.shape).try_eval(context.hints, &count) && count / columns.value() >= kRows;
}

/// Whether convolutions made the image, so that it is channels-last, or formulas and poolings over such; or it is a view of rows of pixels.
bool is_convolved(const Network& net, TensorId id, int body) {
  for (;;) {
    const Layer* layer = net.producer(id, body);
    if (!layer || layer->outputs.size() != 1) return false;
    if (const auto* conv = std::get_if<Conv>(&layer->op)) return !conv->transposed;
    if (std::holds_alternative<Permute>(layer->op)) return memory_order(net, id, body) == Layout::channels_last(4).order;
    if (!is_any_of<Pointwise, Pool>(layer->op)) return false;
    const auto image = std::find_if(layer->inputs.begin(), layer->inputs.end(), [&](TensorId in) {
      return net.producer(in, body) && (std::holds_alternative<Pool>(layer->op) || net.type(in, body).shape == net.type(id, body).shape);
    });
    if (image == layer->inputs.end()) return false;
    id = *image;
  }
}

}  // namespace

bool is_hopper_product(const Network& net, const Layer& layer, int body, const PassContext& context) {
  const auto* matmul = std::get_if<MatMul>(&layer.op);
  if (!matmul) return false;
  const TensorType &x = net.type(layer.inputs[0], body), &w = net.type(layer.inputs[1], body), &out = net.type(layer.outputs[0], body);
  if (w.shape.size() != 2 || out.shape.size() < 2) return false;
  return is_for_hopper(x, w, w.shape[matmul->trans_b ? 1 : 0], out.shape.back(), out, context);
}

bool is_hopper_pixelwise(const Network& net, const Layer& layer, const std::vector<bool>& constant, int body, const PassContext& context) {
  if (!context.own_kernels || !is_pixelwise(net, layer, body) || !constant[layer.inputs[1]] || !is_convolved(net, layer.inputs[0], body)) return false;
  const TensorType &x = net.type(layer.inputs[0], body), &w = net.type(layer.inputs[1], body), &out = net.type(layer.outputs[0], body);
  return is_for_hopper(x, w, w.shape[1], w.shape[0], out, context);
}

bool is_simple_epilogue(const Network& net, const Op& op, const Program& program, std::span<const TensorId> extras, const Shape& out, int body) {
  const int rank = static_cast<int>(out.size()), channel = std::holds_alternative<Conv>(op) ? 1 : rank - 1;
  std::vector<bool> is_bias{false};
  for (TensorId extra : extras) {
    const Shape& shape = net.type(extra, body).shape;
    is_bias.push_back(is_vector_along(shape, rank, channel));
    if (!is_bias.back() && shape != out) return false;
    if (numel(out) == numel(shape) && is_bias.back() && extras.size() > 1) return false;  // a vector: bias and residual cannot be told apart
  }
  return match_simple_epilogue(program, is_bias).has_value();
}

namespace {

bool all(const std::vector<int64_t>& numbers, int64_t value) {
  return std::all_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n == value; });
}

}  // namespace

bool is_pixelwise(const Network& net, const Layer& layer, int body) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || conv->transposed || conv->groups != 1) return false;
  const Shape& w = net.type(layer.inputs[1], body).shape;
  return w.size() == 4 && w[2].is_const(1) && w[3].is_const(1) && all(conv->stride, 1) && all(conv->pad_before, 0) && all(conv->pad_after, 0);
}

bool is_subpixel(const Network& net, const Layer& layer, int body) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || !conv->transposed || conv->groups != 1) return false;
  const Shape &x = net.type(layer.inputs[0], body).shape, &w = net.type(layer.inputs[1], body).shape;
  for (size_t d = 0; d < conv->stride.size(); ++d) {
    if (!w[d + 2].is_const(conv->stride[d]) && !x[d + 2].is_const(1)) return false;
  }
  return all(conv->pad_before, 0) && all(conv->pad_after, 0) && all(conv->dilation, 1) && all(conv->output_padding, 0);
}

std::vector<LayerId> live(const Network& net, int body) {
  std::vector<LayerId> ids;
  const auto& layers = net.bodies[body].layers;
  for (LayerId k = 0; k < static_cast<LayerId>(layers.size()); ++k)
    if (!layers[k].dead) ids.push_back(k);
  return ids;
}

}  // namespace tuyere
