// SPDX-License-Identifier: Apache-2.0
// Programs out of programs: composition, merged inputs, simplification.
#include <algorithm>
#include <bit>
#include <map>
#include <tuple>

#include "common/error.h"
#include "kernels/api/program.h"

namespace tuyere {
namespace {

/// Appends the body of `from` to `to`; `values` maps the value numbers of `from` and already covers its inputs.
void append_body(Program& to, const Program& from, std::vector<int>& values) {
  for (Inst inst : from.body) {
    for (int16_t& arg : inst.args)
      if (arg >= 0) arg = static_cast<int16_t>(values[static_cast<size_t>(arg)]);
    to.body.push_back(inst);
    values.push_back(static_cast<int>(to.inputs.size() + to.body.size()) - 1);
  }
}

bool commutes(Fn fn) {
  switch (fn) {
    case Fn::add:
    case Fn::mul:
    case Fn::eq:
    case Fn::ne:
    case Fn::logical_and:
    case Fn::logical_or:
    case Fn::logical_xor:
    case Fn::bitwise_and:
    case Fn::bitwise_or:
    case Fn::bitwise_xor:
      return true;
    default:
      return false;
  }
}

/// Per value: whether an output needs it.
std::vector<bool> live_values(const Program& program) {
  size_t inputs = program.inputs.size();
  std::vector<bool> live(inputs + program.body.size(), false);
  for (int output : program.outputs) live[static_cast<size_t>(output)] = true;
  for (size_t i = program.body.size(); i-- > 0;)
    for (int arg : program.body[i].args)
      if (live[inputs + i] && arg >= 0) live[static_cast<size_t>(arg)] = true;
  return live;
}

class Simplifier {
 public:
  explicit Simplifier(const Program& program) : old_(program) { new_.inputs = program.inputs; }

  Program run() {
    std::vector<bool> live = live_values(old_);
    size_t inputs = old_.inputs.size();
    for (size_t k = 0; k < inputs; ++k) values_.push_back(static_cast<int>(k));
    for (size_t i = 0; i < old_.body.size(); ++i) values_.push_back(live[inputs + i] ? rewrite(old_.body[i]) : -1);
    for (int output : old_.outputs) new_.outputs.push_back(static_cast<int16_t>(values_[static_cast<size_t>(output)]));
    return new_;
  }

 private:
  const Inst* definition(int value) const {
    size_t v = static_cast<size_t>(value), inputs = new_.inputs.size();
    return v < inputs ? nullptr : &new_.body[v - inputs];
  }

  bool is_constant(int value, double c) const {
    const Inst* inst = definition(value);
    return inst && inst->fn == Fn::constant && inst->value == c;
  }

  /// The number of the simplified instruction.
  int rewrite(Inst inst) {
    for (int16_t& arg : inst.args)
      if (arg >= 0) arg = static_cast<int16_t>(values_[static_cast<size_t>(arg)]);
    if (int same = unchanged(inst); same >= 0) return same;
    return shared(folded(inst));
  }

  /// An argument that the result is equal to, or -1.
  int unchanged(const Inst& inst) const {
    if (inst.fn == Fn::cast) {
      DType from = new_.type_of(inst.args[0]);
      return from == inst.type || compute_type(from) == inst.type ? inst.args[0] : -1;
    }
    auto typed = [&](int arg) { return compute_type(new_.type_of(arg)) == inst.type; };
    if ((inst.fn == Fn::mul || inst.fn == Fn::div) && is_constant(inst.args[1], 1) && typed(inst.args[0])) return inst.args[0];
    if (inst.fn == Fn::mul && is_constant(inst.args[0], 1) && typed(inst.args[1])) return inst.args[1];
    if (inst.fn == Fn::where && inst.args[1] == inst.args[2] && typed(inst.args[1])) return inst.args[1];
    return -1;
  }

  /// A constant when every argument is one.
  Inst folded(const Inst& inst) const {
    if (inst.fn == Fn::constant) return inst;
    Program alone;
    Inst call = inst;
    for (size_t k = 0; k < static_cast<size_t>(info(inst.fn).arity); ++k) {
      const Inst* arg = definition(inst.args[k]);
      if (!arg || arg->fn != Fn::constant) return inst;
      alone.body.push_back(*arg);
      call.args[k] = static_cast<int16_t>(k);
    }
    alone.body.push_back(call);
    alone.outputs = {static_cast<int16_t>(alone.body.size() - 1)};
    double value;
    evaluate(alone, nullptr, &value);
    return {Fn::constant, {-1, -1, -1}, compute_type(inst.type), value};
  }

  int shared(const Inst& inst) {
    auto args = inst.args;
    if (commutes(inst.fn) && args[0] > args[1]) std::swap(args[0], args[1]);
    auto key = std::make_tuple(inst.fn, args, inst.type, std::bit_cast<uint64_t>(inst.value));
    auto [known, fresh] = known_.try_emplace(key, static_cast<int>(new_.inputs.size() + new_.body.size()));
    if (fresh) new_.body.push_back(inst);
    return known->second;
  }

  const Program& old_;
  Program new_;
  std::vector<int> values_;  // old number -> new number
  std::map<std::tuple<Fn, std::array<int16_t, 3>, DType, uint64_t>, int> known_;
};

/// Drops what no output needs.
Program without_dead(const Program& program) {
  size_t inputs = program.inputs.size();
  std::vector<bool> live = live_values(program);
  Program result{program.inputs, {}, {}};
  std::vector<int> values;
  for (size_t k = 0; k < inputs; ++k) values.push_back(static_cast<int>(k));
  for (size_t i = 0; i < program.body.size(); ++i) {
    values.push_back(static_cast<int>(inputs + result.body.size()));
    if (!live[inputs + i]) continue;
    Inst inst = program.body[i];
    for (int16_t& arg : inst.args)
      if (arg >= 0) arg = static_cast<int16_t>(values[static_cast<size_t>(arg)]);
    result.body.push_back(inst);
  }
  for (int output : program.outputs) result.outputs.push_back(static_cast<int16_t>(values[static_cast<size_t>(output)]));
  return result;
}

/// The identity on inputs of these types, written out.
Program spelled_out(const Program& program, DType if_none) {
  Program result = program;
  if (!program.empty()) return result;
  if (result.inputs.empty()) result.inputs = {if_none};
  for (size_t k = 0; k < result.inputs.size(); ++k) result.outputs.push_back(static_cast<int16_t>(k));
  return result;
}

}  // namespace

Program compose(const Program& outer_in, int slot, const Program& inner_in, int out) {
  if (outer_in.empty() && outer_in.inputs.empty() && inner_in.empty() && inner_in.inputs.empty()) return {};
  DType inner_type = !inner_in.empty()         ? inner_in.type_of(inner_in.outputs[static_cast<size_t>(out)])
                     : inner_in.inputs.empty() ? DType::F32
                                               : inner_in.inputs[0];
  const Program outer = spelled_out(outer_in, compute_type(inner_type));
  INTERNAL_CHECK(slot >= 0 && static_cast<size_t>(slot) < outer.inputs.size(), "no input " << slot << " in " << str(outer));
  const Program inner = spelled_out(inner_in, outer.inputs[static_cast<size_t>(slot)]);
  INTERNAL_CHECK(out >= 0 && static_cast<size_t>(out) < inner.outputs.size(), "no output " << out << " in " << str(inner));

  Program result;
  for (size_t k = 0; k < outer.inputs.size(); ++k)
    if (static_cast<int>(k) != slot) result.inputs.push_back(outer.inputs[k]);
  std::vector<int> inner_values, outer_values;
  for (DType type : inner.inputs) {
    inner_values.push_back(static_cast<int>(result.inputs.size()));
    result.inputs.push_back(type);
  }
  append_body(result, inner, inner_values);
  int value = inner_values[static_cast<size_t>(inner.outputs[static_cast<size_t>(out)])];
  DType wanted = outer.inputs[static_cast<size_t>(slot)];
  if (compute_type(result.type_of(value)) != wanted) value = result.cast(value, wanted);
  for (int k = 0; k < static_cast<int>(outer.inputs.size()); ++k) outer_values.push_back(k == slot ? value : k > slot ? k - 1 : k);
  append_body(result, outer, outer_values);
  for (int output : outer.outputs) result.outputs.push_back(static_cast<int16_t>(outer_values[static_cast<size_t>(output)]));
  return without_dead(result);
}

Program merge_inputs(const Program& program, int a, int b) {
  INTERNAL_CHECK(0 <= a && a < b && static_cast<size_t>(b) < program.inputs.size(), "inputs " << a << " and " << b << " of " << str(program));
  INTERNAL_CHECK(program.inputs[static_cast<size_t>(a)] == program.inputs[static_cast<size_t>(b)], "merged inputs differ in type");
  Program result = program;
  auto renumber = [&](int16_t& value) {
    if (value >= b) value = static_cast<int16_t>(value == b ? a : value - 1);
  };
  result.inputs.erase(result.inputs.begin() + b);
  for (Inst& inst : result.body)
    for (int16_t& arg : inst.args) renumber(arg);
  for (int16_t& output : result.outputs) renumber(output);
  return result;
}

Program simplify(const Program& program) {
  Program result = Simplifier(program).run();
  return without_dead(result);  // folding leaves constants without users
}

}  // namespace tuyere
