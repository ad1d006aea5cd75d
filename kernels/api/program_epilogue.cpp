// SPDX-License-Identifier: Apache-2.0
// Recognizes the epilogues of libraries: out = act(main [+ residual] [+ bias]) and act(main [+ bias]) + residual.
#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/api/program.h"

namespace tuyere {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class Matcher {
 public:
  Matcher(const Program& program, const std::vector<bool>& is_bias) : program_(program), is_bias_(is_bias) {}

  std::optional<SimpleEpilogue> run() {
    if (program_.outputs.size() != 1) return std::nullopt;
    const int value = without_casts(program_.outputs[0], true);
    if (const int rest = residual_last(value); rest >= 0 && matches(rest) && result_.act) return result_;
    result_ = {};
    has_main_ = false;
    return matches(value) ? std::optional(result_) : std::nullopt;
  }

 private:
  bool matches(int value) { return addends(activation(value)) && has_main_; }

  /// What a residual is added to, or -1 where `value` is no such sum.
  int residual_last(int value) {
    const Inst* sum = call(value, Fn::add);
    if (!sum || !is_float(sum->type)) return -1;
    for (size_t k = 0; k < 2; ++k) {
      const int input = argument(*sum, k), other = argument(*sum, 1 - k);
      if (input == 0 || definition(input) || !definition(other) || is_bias(input)) continue;
      result_.residual = input;
      result_.residual_last = true;
      return other;
    }
    return -1;
  }

  bool is_bias(int input) const { return static_cast<size_t>(input) < is_bias_.size() && is_bias_[static_cast<size_t>(input)]; }

  const Inst* definition(int value) const {
    size_t inputs = program_.inputs.size(), v = static_cast<size_t>(value);
    return v < inputs ? nullptr : &program_.body[v - inputs];
  }

  const Inst* call(int value, Fn fn) const {
    const Inst* inst = definition(value);
    return inst && inst->fn == fn ? inst : nullptr;
  }

  /// Skips casts that change nothing, and, for the result of the program, those to the type it is stored in.
  int without_casts(int value, bool final) const {
    for (const Inst* inst = call(value, Fn::cast); inst; inst = call(value, Fn::cast)) {
      DType from = program_.type_of(inst->args[0]);
      bool exact = inst->type == from || inst->type == compute_type(from);
      bool storage = final && is_float(inst->type) && is_float(from) && bits(inst->type) <= bits(from);
      if (!exact && !storage) break;
      value = inst->args[0];
      final = final && exact;  // rounding twice is not rounding once
    }
    return value;
  }

  std::optional<double> constant(int value) const {
    const Inst* inst = call(without_casts(value, false), Fn::constant);
    return inst ? std::optional(inst->value) : std::nullopt;
  }

  int argument(const Inst& inst, size_t k) const { return without_casts(inst.args[k], false); }

  static bool is_plain_activation(Fn fn) {
    switch (fn) {
      case Fn::relu:
      case Fn::silu:
      case Fn::gelu_erf:
      case Fn::gelu_tanh:
      case Fn::sigmoid:
      case Fn::tanh:
      case Fn::hardswish:
      case Fn::hardsigmoid:
      case Fn::softplus:
      case Fn::mish:
        return true;
      default:
        return false;
    }
  }

  /// Notes the activation that `value` is the result of; returns its argument, or `value` when there is none.
  int activation(int value) {
    const Inst* inst = definition(value);
    if (!inst || !is_float(inst->type)) return value;
    if (int inner = bounds(value); inner >= 0) return inner;
    if (is_plain_activation(inst->fn)) {
      result_.act = inst->fn;
      return argument(*inst, 0);
    }
    if (inst->fn == Fn::where) return leaky_relu(*inst).value_or(value);
    if (inst->fn != Fn::mul) return value;
    for (size_t k = 0; k < 2; ++k) {  // x * gate(x)
      int x = argument(*inst, k), gate = argument(*inst, 1 - k);
      const Inst* g = definition(gate);
      if (!g || (g->fn != Fn::sigmoid && g->fn != Fn::hardsigmoid) || argument(*g, 0) != x) continue;
      result_.act = g->fn == Fn::sigmoid ? Fn::silu : Fn::hardswish;
      return x;
    }
    return value;
  }

  /// where(x > 0, x, slope * x).
  std::optional<int> leaky_relu(const Inst& inst) {
    const int x = argument(inst, 1);
    const Inst *positive = call(inst.args[0], Fn::gt), *scaled = call(argument(inst, 2), Fn::mul);
    if (!positive || !scaled || argument(*positive, 0) != x || constant(positive->args[1]) != 0.0) return std::nullopt;
    for (size_t k = 0; k < 2; ++k) {
      const std::optional<double> slope = constant(scaled->args[1 - k]);
      if (argument(*scaled, k) != x || !slope) continue;
      result_.act = Fn::where;
      result_.act_alpha = *slope;
      return x;
    }
    return std::nullopt;
  }

  /// One instruction of the form min(max(x, low), high) with constant bounds.
  struct Bound {
    int x;
    double low, high;
  };

  std::optional<Bound> bound(int value) const {
    const Inst* inst = definition(value);
    if (!inst) return std::nullopt;
    if (inst->fn == Fn::relu) return Bound{argument(*inst, 0), 0, kInfinity};
    if (inst->fn == Fn::clamp) {
      auto low = constant(inst->args[1]), high = constant(inst->args[2]);
      if (low && high && *low <= *high) return Bound{argument(*inst, 0), *low, *high};
    }
    if (inst->fn != Fn::min && inst->fn != Fn::max) return std::nullopt;
    for (size_t k = 0; k < 2; ++k) {
      auto c = constant(inst->args[k]);
      if (!c || *c != *c) continue;
      int x = argument(*inst, 1 - k);
      return inst->fn == Fn::min ? Bound{x, -kInfinity, *c} : Bound{x, *c, kInfinity};
    }
    return std::nullopt;
  }

  /// Collapses nested bounds into relu or clamp; returns what is bounded, or -1.
  int bounds(int value) {
    double low = -kInfinity, high = kInfinity;
    bool any = false;
    for (auto b = bound(value); b; b = bound(value)) {  // outer first: outer(inner(x))
      double inner_low = std::clamp(b->low, low, high), inner_high = std::clamp(b->high, low, high);
      low = inner_low;
      high = inner_high;
      value = b->x;
      any = true;
    }
    if (!any) return -1;
    bool is_relu = low == 0 && high == kInfinity;
    result_.act = is_relu ? Fn::relu : Fn::clamp;
    if (!is_relu) {
      result_.act_alpha = low;
      result_.act_beta = high;
    }
    return value;
  }

  /// A sum of inputs, in any association: the main result once, at most one bias and one residual.
  bool addends(int value) {
    value = without_casts(value, false);
    if (const Inst* inst = call(value, Fn::add)) return is_float(inst->type) && addends(inst->args[0]) && addends(inst->args[1]);
    if (definition(value) || !is_float(program_.inputs[static_cast<size_t>(value)])) return false;
    if (value == 0) return !std::exchange(has_main_, true);
    int& slot = is_bias(value) ? result_.bias : result_.residual;
    if (slot >= 0) return false;
    slot = value;
    return true;
  }

  const Program& program_;
  const std::vector<bool>& is_bias_;
  bool has_main_ = false;
  SimpleEpilogue result_;
};

}  // namespace

std::optional<SimpleEpilogue> match_simple_epilogue(const Program& program, const std::vector<bool>& is_bias) {
  if (program.empty()) return SimpleEpilogue{};
  return Matcher(program, is_bias).run();
}

}  // namespace tuyere
