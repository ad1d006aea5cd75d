// SPDX-License-Identifier: Apache-2.0
// Programs as values, and their scalar interpreter.
#include "kernels/api/program.h"

#include <algorithm>
#include <string_view>

#include "common/error.h"
#include "kernels/api/functions_ref.h"

namespace tuyere {
namespace {

constexpr FnInfo kFunctions[] = {
#define FN(name, arity, result, cuda, cpp) {#name, arity, #result, cuda},
#include "kernels/api/functions.def"
#undef FN
    {"constant", 0, "same", ""},
    {"cast", 1, "same", ""},
};

template <class T>
T from_double(double v) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(v);
  else if constexpr (std::is_same_v<T, bool>)
    return v != 0;
  else {  // saturates, NaN is 0: what the device's conversion does
    if (std::isnan(v)) return 0;
    if (v >= -static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::max();
    if (v <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
    return static_cast<T>(v);
  }
}

constexpr bool real_function(Fn fn) { return std::string_view(kFunctions[static_cast<size_t>(fn)].result) == "real"; }

/// Result of the row when it is defined for T.
template <Fn kFn, class R, class T, class Row>
double invoke([[maybe_unused]] Row row, [[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T c) {
  if constexpr ((std::is_floating_point_v<T> || !real_function(kFn)) && std::is_invocable_v<Row, T, T, T>)
    return static_cast<double>(static_cast<R>(row(a, b, c)));
  INTERNAL_CHECK(false, "function " << info(kFn).name << " is not defined for this type");
  return 0;
}

template <class T>
double apply(Fn fn, T a, T b, T c) {
  switch (fn) {
#define FN(name, arity, result, cuda, cpp)                                                     \
  case Fn::name:                                                                               \
    return invoke<Fn::name, std::conditional_t<std::string_view(#result) == "bool", bool, T>>( \
        []<class U>([[maybe_unused]] U a, [[maybe_unused]] U b, [[maybe_unused]] U c) -> std::decay_t<decltype(cpp)> { return cpp; }, a, b, c);
#include "kernels/api/functions.def"
#undef FN
    default:
      INTERNAL_CHECK(false, "constant and cast are no table functions");
  }
  return 0;
}

template <class T>
double apply_as(Fn fn, const double* args) {
  return apply<T>(fn, from_double<T>(args[0]), from_double<T>(args[1]), from_double<T>(args[2]));
}

double apply_typed(Fn fn, DType type, const double* args) {
  switch (type) {
    case DType::F32:
      return apply_as<float>(fn, args);
    case DType::F64:
      return apply_as<double>(fn, args);
    case DType::I32:
      return apply_as<int32_t>(fn, args);
    case DType::I64:
      return apply_as<int64_t>(fn, args);
    case DType::Bool:
      return apply_as<bool>(fn, args);
    default:
      INTERNAL_CHECK(false, "type " << name(type) << " is no type of arithmetic");
  }
  return 0;
}

/// The value in the compute type, as double.
double converted(double value, DType type) {
  switch (type) {
    case DType::F32:
      return static_cast<float>(value);
    case DType::F64:
      return value;
    case DType::I32:
      return from_double<int32_t>(value);
    case DType::I64:
      return static_cast<double>(from_double<int64_t>(value));
    default:
      return value != 0;
  }
}

double cast_value(double value, DType from, DType to) {
  if (compute_type(to) == to && !(to == DType::I32 && !is_float(from))) return converted(value, to);
  double cell = 0;
  store_from_double(to, &cell, 0, is_float(to) ? static_cast<float>(value) : value);
  return load_as_double(to, &cell, 0);
}

double evaluate_inst(const Program& program, const Inst& inst, const double* values) {
  if (inst.fn == Fn::constant) return converted(inst.value, compute_type(inst.type));
  if (inst.fn == Fn::cast) return cast_value(values[inst.args[0]], compute_type(program.type_of(inst.args[0])), inst.type);
  double args[3] = {0, 0, 0};
  for (int k = 0; k < info(inst.fn).arity; ++k) args[k] = values[inst.args[static_cast<size_t>(k)]];
  bool predicate = info(inst.fn).result == std::string_view("bool");
  DType type = compute_type(predicate ? program.type_of(inst.args[0]) : inst.type);
  if (inst.fn == Fn::where) args[0] = args[0] != 0;
  if (is_real(inst.fn) && !is_float(type)) return converted(apply_typed(inst.fn, DType::F64, args), type);
  return apply_typed(inst.fn, type, args);
}

}  // namespace

const FnInfo& info(Fn fn) { return kFunctions[static_cast<size_t>(fn)]; }

std::optional<Fn> parse_fn(std::string_view name) {
  for (size_t i = 0; i < std::size(kFunctions); ++i)
    if (name == kFunctions[i].name) return static_cast<Fn>(i);
  return std::nullopt;
}

bool is_real(Fn fn) { return real_function(fn); }

DType result_type(Fn fn, const std::vector<DType>& args) {
  std::string_view rule = info(fn).result;
  if (rule == "bool") return DType::Bool;
  return compute_type(args[rule == "arg1" ? 1 : 0]);
}

bool Program::is_identity() const {
  if (empty()) return true;
  if (outputs.size() != inputs.size()) return false;
  for (size_t k = 0; k < outputs.size(); ++k)
    if (outputs[k] != static_cast<int>(k)) return false;
  return true;
}

DType Program::type_of(int value) const {
  size_t v = static_cast<size_t>(value);
  INTERNAL_CHECK(value >= 0 && v < inputs.size() + body.size(), "no value " << value << " in the program");
  return v < inputs.size() ? inputs[v] : body[v - inputs.size()].type;
}

int Program::add(Fn fn, std::vector<int> args) {
  INTERNAL_CHECK(fn != Fn::constant && fn != Fn::cast && static_cast<int>(args.size()) == info(fn).arity, "wrong arguments of " << info(fn).name);
  Inst inst{fn};
  std::vector<DType> types;
  for (size_t k = 0; k < args.size(); ++k) {
    types.push_back(type_of(args[k]));
    inst.args[k] = static_cast<int16_t>(args[k]);
  }
  inst.type = result_type(fn, types);
  body.push_back(inst);
  return static_cast<int>(inputs.size() + body.size()) - 1;
}

int Program::constant(double value, DType type) {
  body.push_back({Fn::constant, {-1, -1, -1}, compute_type(type), value});
  return static_cast<int>(inputs.size() + body.size()) - 1;
}

int Program::cast(int value, DType type) {
  type_of(value);  // checks the number
  body.push_back({Fn::cast, {static_cast<int16_t>(value), -1, -1}, type, 0});
  return static_cast<int>(inputs.size() + body.size()) - 1;
}

Program single(Fn fn, const std::vector<DType>& inputs) {
  Program program;
  std::vector<int> args;
  for (DType type : inputs) {
    args.push_back(static_cast<int>(program.inputs.size()));
    program.inputs.push_back(compute_type(type));
  }
  program.outputs = {static_cast<int16_t>(program.add(fn, args))};
  return program;
}

std::vector<int> input_uses(const Program& program) {
  std::vector<int> uses(program.inputs.size(), 0);
  auto count = [&](int value) {
    if (value >= 0 && static_cast<size_t>(value) < uses.size()) ++uses[static_cast<size_t>(value)];
  };
  for (const Inst& inst : program.body)
    for (int arg : inst.args) count(arg);
  for (int output : program.outputs) count(output);
  return uses;
}

void evaluate(const Program& program, const double* in, double* out) {
  if (program.empty()) {
    for (size_t k = 0; k < std::max<size_t>(program.inputs.size(), 1); ++k) out[k] = in[k];
    return;
  }
  constexpr size_t kSmall = 96;
  double small[kSmall];
  std::vector<double> large;
  size_t count = program.inputs.size() + program.body.size();
  double* values = small;
  if (count > kSmall) {
    large.resize(count);
    values = large.data();
  }
  std::copy(in, in + program.inputs.size(), values);
  for (size_t i = 0; i < program.body.size(); ++i) values[program.inputs.size() + i] = evaluate_inst(program, program.body[i], values);
  for (size_t k = 0; k < program.outputs.size(); ++k) out[k] = values[program.outputs[k]];
}

}  // namespace tuyere
