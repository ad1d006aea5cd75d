// SPDX-License-Identifier: Apache-2.0
#include "converters/aten/pw.h"

#include <algorithm>

#include "common/error.h"

namespace tuyere {
namespace {

int category(DType type) { return type == DType::Bool ? 0 : is_float(type) ? 2 : 1; }

DType promote_ints(DType a, DType b) {
  if (a == DType::U8 || b == DType::U8) {
    DType other = a == DType::U8 ? b : a;
    return other == DType::I8 ? DType::I16 : other;
  }
  return bits(a) >= bits(b) ? a : b;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (category(a) != category(b)) return category(a) > category(b) ? a : b;
  if (category(a) == 1) return promote_ints(a, b);
  if (bits(a) == bits(b)) return DType::F32;  // f16 with bf16
  return bits(a) > bits(b) ? a : b;
}

std::optional<DType> join(std::optional<DType> a, std::optional<DType> b) {
  if (!a || !b) return a ? a : b;
  return promote(*a, *b);
}

/// The stronger class of arguments decides unless the weaker one is of a higher category (bool < int < float).
std::optional<DType> combine(std::optional<DType> strong, std::optional<DType> weak) {
  if (!strong || !weak) return strong ? strong : weak;
  return category(*weak) > category(*strong) ? promote(*strong, *weak) : strong;
}

}  // namespace

DType promoted(Convert& c, std::initializer_list<std::string_view> args) {
  std::optional<DType> dims, scalars, numbers;
  for (std::string_view arg : args) {
    if (!c.has(arg)) continue;
    if (c.is_tensor(arg)) {
      const TensorType type = c.type(c.tensor(arg));
      std::optional<DType>& slot = type.shape.empty() ? scalars : dims;
      slot = join(slot, type.dtype);
    } else {
      USER_CHECK(c.is_number(arg), "argument '" << arg << "' is neither a tensor nor a number");
      numbers = join(numbers, c.is_integral(arg) ? DType::I64 : c.is_bool(arg) ? DType::Bool : DType::F32);
    }
  }
  std::optional<DType> result = combine(combine(dims, scalars), numbers);
  USER_CHECK(result.has_value(), "no argument to take the dtype from");
  return *result;
}

Pw::Value Pw::input(TensorId tensor) {
  auto found = std::find(tensors_.begin(), tensors_.end(), tensor);
  if (found != tensors_.end()) return {static_cast<int>(found - tensors_.begin())};
  tensors_.push_back(tensor);
  inputs_.push_back(compute_type(c.type(tensor).dtype));
  return {static_cast<int>(tensors_.size()) - 1};
}

Pw::Value Pw::emit(Inst inst) {
  body_.push_back(inst);
  return {kBody + static_cast<int>(body_.size()) - 1};
}

Pw::Value Pw::constant(double value, DType type) {
  Inst inst;
  inst.type = type;
  inst.value = is_int(type) ? static_cast<double>(static_cast<int64_t>(value)) : type == DType::Bool ? value != 0 : value;
  return emit(inst);
}

Pw::Value Pw::in(std::string_view arg) {
  constexpr int64_t kExact = int64_t{1} << 53;
  if (c.is_tensor(arg)) return in(c.tensor(arg));
  bool plain = !c.is_integral(arg);
  if (!plain) {
    Dim value = c.dim(arg);
    plain = value.is_const() && value.value() <= kExact && value.value() >= -kExact;
  }
  return plain ? num(c.number(arg)) : in(c.operand(arg, DType::I64));
}

Pw::Value Pw::rounded(std::string_view arg, DType storage) {
  if (c.is_tensor(arg) || !is_float(storage)) return in(arg);
  double value = 0;
  store_from_double(storage, &value, 0, c.number(arg));
  return num(load_as_double(storage, &value, 0));
}

Pw::Value Pw::as(Value value, DType type) {
  DType from = type_of(value);
  if (from == type) return value;
  Inst inst;
  inst.fn = Fn::cast;
  inst.args[0] = static_cast<int16_t>(value.id);
  inst.type = type;
  return emit(inst);
}

Pw::Value Pw::operator()(Fn fn, std::initializer_list<Value> args) {
  Inst inst;
  inst.fn = fn;
  int count = 0;
  for (Value arg : args) inst.args[count++] = static_cast<int16_t>(arg.id);
  const std::string_view result = info(fn).result;
  inst.type = result == "bool" ? DType::Bool : type_of(args.begin()[result == "arg1" ? 1 : 0]);
  return emit(inst);
}

TensorId Pw::finish(Value value, DType out) {
  value = as(value, compute_type(out));
  Program program;
  program.inputs = inputs_;
  program.body = body_;
  const int shift = static_cast<int>(inputs_.size());
  auto number = [&](int id) { return static_cast<int16_t>(id >= kBody ? id - kBody + shift : id); };
  for (Inst& inst : program.body) {
    for (int16_t& arg : inst.args) {
      if (arg >= 0) arg = number(arg);
    }
  }
  program.outputs = {number(value.id)};
  return c.add(Pointwise{std::move(program), {out}}, tensors_);
}

}  // namespace tuyere
