// SPDX-License-Identifier: Apache-2.0
// One scalar function as a layer: the arguments are cast to a common compute type inside the program.
#include <algorithm>

#include "common/error.h"
#include "core/network/internal.h"

namespace tuyere {
namespace {

int width(DType compute) {
  switch (compute) {
    case DType::Bool:
      return 0;
    case DType::I32:
      return 1;
    case DType::I64:
      return 2;
    case DType::F32:
      return 3;
    default:
      return 4;
  }
}

/// Comparisons and predicates compute in the widest of their arguments' types, everything else in the result's (real functions in a float type).
DType common_type(Fn fn, std::span<const DType> inputs, DType type) {
  if (std::string_view(info(fn).result) != "bool") return is_real(fn) && !is_float(type) ? DType::F32 : compute_type(type);
  DType common = DType::Bool;
  for (DType input : inputs)
    if (width(compute_type(input)) > width(common)) common = compute_type(input);
  return common;
}

}  // namespace

Pointwise pointwise_op(Fn fn, std::span<const DType> inputs, DType type) {
  Pointwise op;
  Program& program = op.program;
  for (DType input : inputs) program.inputs.push_back(compute_type(input));
  if (fn == Fn::cast) {
    program.outputs = {static_cast<int16_t>(program.cast(0, type))};
  } else {
    const DType common = common_type(fn, inputs, type);
    std::vector<int> args;
    for (int k = 0; k < static_cast<int>(inputs.size()); ++k) {
      const DType want = k == 0 && fn == Fn::where ? DType::Bool : common;
      args.push_back(program.inputs[k] == want ? k : program.cast(k, want));
    }
    program.outputs = {static_cast<int16_t>(program.add(fn, args))};
  }
  op.types = {type};
  return op;
}

std::optional<DType> default_type(Fn fn, std::span<const DType> inputs) {
  if (fn == Fn::cast || inputs.empty()) return std::nullopt;
  const std::string_view result = info(fn).result;
  if (result == "bool") return DType::Bool;
  return inputs[result == "arg1" ? 1 : 0];
}

std::optional<Fn> sugar_of(const Pointwise& op, std::span<const DType> inputs) {
  if (op.types.size() != 1 || op.program.outputs.size() != 1) return std::nullopt;
  const Fn fn = op.program.body.empty() ? Fn::cast : op.program.body.back().fn;
  if (fn == Fn::constant) return std::nullopt;
  if (static_cast<int>(inputs.size()) != info(fn).arity || !(pointwise_op(fn, inputs, op.types[0]) == op)) return std::nullopt;
  return fn;
}

TensorId Network::pointwise(Fn fn, std::vector<TensorId> inputs, DType type, Origins origins, int body) {
  const int arity = info(fn).arity;
  USER_CHECK(fn != Fn::constant && static_cast<int>(inputs.size()) == arity, info(fn).name << ": takes " << arity << " inputs, got " << inputs.size());
  std::vector<DType> dtypes;
  for (TensorId id : inputs) dtypes.push_back(this->type(id, body).dtype);
  return add1(pointwise_op(fn, dtypes, type), std::move(inputs), std::move(origins), body);
}

TensorId Network::cast(TensorId x, DType type, Origins origins, int body) {
  return this->type(x, body).dtype == type ? x : pointwise(Fn::cast, {x}, type, std::move(origins), body);
}

}  // namespace tuyere
