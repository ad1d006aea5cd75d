// SPDX-License-Identifier: Apache-2.0
// Within pointwise programs, wherever they stand:
//   1 / (1 + exp(-x)) => sigmoid(x)        x * sigmoid(x) => silu(x)        x * tanh(softplus(x)) => mish(x)
//   0.5 * x * (1 + erf(x / sqrt 2)) => gelu_erf(x)        0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) => gelu_tanh(x)
//   relu6(x + 3) / 6 => hardsigmoid(x)     x * relu6(x + 3) / 6 => hardswish(x)       where(x > t, x, softplus(x)), t >= 15 => softplus(x)
// Runs after pointwise layers are fused, so that a formula is one program. Literals of one element and fills become numbers first.
// See tests/unit/passes/match_activation.cpp
#include <algorithm>
#include <cmath>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

bool near(double a, double b) { return std::abs(a - b) <= 2e-4 * std::abs(b); }

class ProgramMatcher {
 public:
  explicit ProgramMatcher(Program& program) : program_(program) {}

  bool run() {
    bool changed = false;
    for (int value = inputs(); value < inputs() + static_cast<int>(program_.body.size()); ++value) {
      if (program_.type_of(value) != DType::F32) continue;
      const auto found = match(value);
      if (!found) continue;
      Inst& inst = program_.body[value - inputs()];
      inst = Inst{found->fn, {static_cast<int16_t>(found->x), -1, -1}, DType::F32, 0};
      changed = true;
    }
    if (changed) program_ = tuyere::simplify(program_);
    return changed;
  }

 private:
  struct Call {
    Fn fn;
    int x;
  };
  /// factor * the product of `values`
  struct Product {
    double factor = 1;
    std::vector<int> values;
  };

  int inputs() const { return static_cast<int>(program_.inputs.size()); }
  const Inst* definition(int value) const { return value < inputs() ? nullptr : &program_.body[value - inputs()]; }
  /// The instruction that makes `value`, if it is `fn`.
  const Inst* made_by(int value, Fn fn) const {
    const Inst* inst = definition(value);
    return inst && inst->fn == fn ? inst : nullptr;
  }
  std::optional<double> number(int value) const {
    const Inst* inst = made_by(value, Fn::constant);
    return inst ? std::optional(inst->value) : std::nullopt;
  }

  /// Multiplications and divisions by numbers, flat.
  void flatten(int value, Product& product, int depth = 0) const {
    const Inst* inst = definition(value);
    if (const auto n = number(value)) {
      product.factor *= *n;
    } else if (inst && inst->fn == Fn::mul && depth < 8) {
      flatten(inst->args[0], product, depth + 1);
      flatten(inst->args[1], product, depth + 1);
    } else if (inst && inst->fn == Fn::square && depth < 8) {
      flatten(inst->args[0], product, depth + 1);
      flatten(inst->args[0], product, depth + 1);
    } else if (inst && inst->fn == Fn::pow && number(inst->args[1]) == 3.0) {
      product.values.insert(product.values.end(), 3, inst->args[0]);
    } else if (inst && inst->fn == Fn::div && number(inst->args[1])) {
      product.factor /= *number(inst->args[1]);
      flatten(inst->args[0], product, depth + 1);
    } else {
      product.values.push_back(value);
    }
  }

  Product product_of(int value) const {
    Product product;
    flatten(value, product);
    return product;
  }

  /// v of v + n
  std::optional<int> plus(int value, double n) const {
    const Inst* inst = made_by(value, Fn::add);
    for (int k = 0; inst && k < 2; ++k)
      if (const auto c = number(inst->args[k]); c && near(*c, n)) return inst->args[1 - k];
    return std::nullopt;
  }

  std::optional<Call> match(int value) const {
    const Inst& inst = *definition(value);
    if (inst.fn == Fn::where) return softplus(inst);
    if (inst.fn == Fn::recip) return sigmoid(inst.args[0]);
    if (inst.fn == Fn::div) {
      if (number(inst.args[0]) == 1.0)
        if (auto found = sigmoid(inst.args[1])) return found;
      if (auto found = sigmoid(inst.args[1]); found && found->x == inst.args[0]) return Call{Fn::silu, found->x};
    }
    if (inst.fn != Fn::mul && inst.fn != Fn::div) return std::nullopt;
    const Product product = product_of(value);
    if (product.values.size() == 1 && near(product.factor, 1.0 / 6))
      if (const auto x = relu6_of_plus3(product.values[0])) return Call{Fn::hardsigmoid, *x};
    for (size_t k = 0; product.values.size() == 2 && k < 2; ++k)
      if (auto found = gated(product.values[k], product.values[1 - k], product.factor)) return found;
    return std::nullopt;
  }

  /// `denominator` is 1 + exp(-x).
  std::optional<Call> sigmoid(int denominator) const {
    const auto power = plus(denominator, 1);
    const Inst* exp = power ? made_by(*power, Fn::exp) : nullptr;
    if (!exp) return std::nullopt;
    if (const Inst* neg = made_by(exp->args[0], Fn::neg)) return Call{Fn::sigmoid, neg->args[0]};
    const Product inner = product_of(exp->args[0]);
    return inner.values.size() == 1 && inner.factor == -1 ? std::optional(Call{Fn::sigmoid, inner.values[0]}) : std::nullopt;
  }

  std::optional<Call> softplus(const Inst& where) const {
    const Inst* test = made_by(where.args[0], Fn::gt);
    const Inst* soft = made_by(where.args[2], Fn::softplus);
    if (!test || !soft || test->args[0] != where.args[1] || soft->args[0] != where.args[1]) return std::nullopt;
    const auto limit = number(test->args[1]);
    return limit && *limit >= 15 ? std::optional(Call{Fn::softplus, where.args[1]}) : std::nullopt;
  }

  /// factor * x * gate(x)
  std::optional<Call> gated(int x, int gate, double factor) const {
    const Inst* inst = definition(gate);
    if (!inst) return std::nullopt;
    if (factor == 1 && inst->fn == Fn::sigmoid && inst->args[0] == x) return Call{Fn::silu, x};
    if (factor == 1 && inst->fn == Fn::hardsigmoid && inst->args[0] == x) return Call{Fn::hardswish, x};
    if (factor == 1 && inst->fn == Fn::tanh)
      if (const Inst* soft = made_by(inst->args[0], Fn::softplus); soft && soft->args[0] == x) return Call{Fn::mish, x};
    if (near(factor, 1.0 / 6) && relu6_of_plus3(gate) == x) return Call{Fn::hardswish, x};
    const auto inner = factor == 0.5 ? plus(gate, 1) : std::nullopt;
    if (!inner) return std::nullopt;
    if (const Inst* erf = made_by(*inner, Fn::erf)) {
      const Product argument = product_of(erf->args[0]);
      if (argument.values == std::vector<int>{x} && near(argument.factor, std::sqrt(0.5))) return Call{Fn::gelu_erf, x};
    }
    if (const Inst* tanh = made_by(*inner, Fn::tanh); tanh && is_cubic(tanh->args[0], x)) return Call{Fn::gelu_tanh, x};
    return std::nullopt;
  }

  /// sqrt(2 / pi) * (x + 0.044715 * x^3), or sqrt(2 / pi) * x * (1 + 0.044715 * x^2)
  bool is_cubic(int value, int x) const {
    const Product product = product_of(value);
    if (!near(product.factor, std::sqrt(2 / 3.14159265358979323846))) return false;
    const auto is_power = [&](int term, size_t power) {
      const Product p = product_of(term);
      return near(p.factor, 0.044715) && p.values == std::vector<int>(power, x);
    };
    if (product.values.size() == 1) {
      const Inst* sum = made_by(product.values[0], Fn::add);
      return sum && ((sum->args[0] == x && is_power(sum->args[1], 3)) || (sum->args[1] == x && is_power(sum->args[0], 3)));
    }
    if (product.values.size() != 2) return false;
    const int other = product.values[0] == x ? product.values[1] : product.values[0];
    const auto square = (product.values[0] == x) != (product.values[1] == x) ? plus(other, 1) : std::nullopt;
    return square && is_power(*square, 2);
  }

  /// x of clamp(x + 3, 0, 6), in any spelling.
  std::optional<int> relu6_of_plus3(int value) const {
    const Inst* inst = definition(value);
    if (!inst) return std::nullopt;
    if (inst->fn == Fn::clamp && number(inst->args[1]) == 0.0 && number(inst->args[2]) == 6.0) return plus(inst->args[0], 3);
    if (inst->fn != Fn::min) return std::nullopt;
    for (int k = 0; k < 2; ++k) {
      if (number(inst->args[k]) != 6.0) continue;
      const int low = inst->args[1 - k];
      if (const Inst* relu = made_by(low, Fn::relu)) return plus(relu->args[0], 3);
      const Inst* max = made_by(low, Fn::max);
      for (int j = 0; max && j < 2; ++j)
        if (number(max->args[j]) == 0.0) return plus(max->args[1 - j], 3);
    }
    return std::nullopt;
  }

  Program& program_;
};

/// The number that a tensor is full of, where a program can hold it: of a literal of one element, or of a fill.
std::optional<double> number_of(const Network& net, TensorId id, int body) {
  constexpr double kExact = 9007199254740992.0;
  const DType type = net.type(id, body).dtype;
  std::optional<double> number;
  const Layer* producer = net.producer(id, body);
  if (const auto* fill = producer ? std::get_if<Fill>(&producer->op) : nullptr; fill && !fill->use_dim && (compute_type(type) == type || fill->value == 0)) {
    number = fill->value;
  } else if (const int constant = net.tensor(id, body).constant;
             constant >= 0 && !net.constants[constant].param && numel(net.type(id, body).shape).is_const(1)) {
    const std::vector<double> values = net.constant_values(id, body);
    if (values.size() == 1) number = values[0];
  }
  return number && std::abs(*number) <= kExact ? number : std::nullopt;
}

/// Such tensors become immediates, while another input still gives the shape.
bool take_numbers(Network& net, LayerId id, int body) {
  const Layer& layer = net.bodies[body].layers[id];
  Pointwise op = std::get<Pointwise>(layer.op);
  std::vector<TensorId> inputs = layer.inputs;
  const Shape shape = net.type(layer.outputs[0], body).shape;
  bool changed = false;
  for (size_t k = inputs.size(); k-- > 0;) {
    const std::optional<double> value = number_of(net, inputs[k], body);
    const bool another = std::any_of(inputs.begin(), inputs.end(), [&](TensorId in) { return in != inputs[k] && net.type(in, body).shape == shape; });
    if (!value || !another) continue;
    Program number;
    number.outputs = {static_cast<int16_t>(number.constant(*value, op.program.inputs[k]))};
    op.program = compose(op.program, static_cast<int>(k), number);
    inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(k));
    changed = true;
  }
  if (!changed) return false;
  op.program = simplify(op.program);
  net.bodies[body].layers[id].op = std::move(op);
  net.bodies[body].layers[id].inputs = std::move(inputs);
  return true;
}

bool match_programs(Op& op) {
  return std::visit(
      [](auto& o) {
        bool changed = false;
        if constexpr (requires { o.program; }) changed |= ProgramMatcher(o.program).run();
        if constexpr (requires { o.prologue; }) changed |= ProgramMatcher(o.prologue).run();
        if constexpr (requires { o.epilogue; }) changed |= ProgramMatcher(o.epilogue).run();
        return changed;
      },
      op);
}

}  // namespace

bool match_activation(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (layer.outputs.empty() || constant[layer.outputs[0]]) continue;
      if (std::holds_alternative<Pointwise>(layer.op)) changed |= take_numbers(net, id, body);
      changed |= match_programs(net.bodies[body].layers[id].op);
    }
  }
  return changed;
}

}  // namespace tuyere
