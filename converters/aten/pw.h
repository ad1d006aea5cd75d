// SPDX-License-Identifier: Apache-2.0
// Builds the program of one Pointwise layer. Numbers become immediates, tensors become inputs (each once), everything is computed in one type.
#pragma once
#include <initializer_list>

#include "converters/convert.h"

namespace tuyere {

/// The dtype PyTorch promotes these tensor or number arguments to (torch.result_type).
DType promoted(Convert& c, std::initializer_list<std::string_view> args);

class Pw {
 public:
  /// A value of the program.
  struct Value {
    int id;
  };

  /// Computes in compute_type(type).
  Pw(Convert& c, DType type) : c(c), type_(compute_type(type)) {}

  Convert& c;
  DType type() const { return type_; }
  /// A tensor or number argument, converted to the compute type.
  Value in(std::string_view arg);
  Value in(TensorId tensor) { return as(input(tensor), type_); }
  /// The same as a condition.
  Value condition(std::string_view arg) { return condition(c.tensor(arg)); }
  Value condition(TensorId tensor) { return as(input(tensor), DType::Bool); }
  Value num(double value) { return constant(value, type_); }
  /// A number argument rounded to `storage` first, as PyTorch does where it converts the scalar before it computes.
  Value rounded(std::string_view arg, DType storage);
  Value operator()(Fn fn, std::initializer_list<Value> args);
  /// `value` in another type and back; used for tests on truth.
  Value as(Value value, DType type);
  /// Adds the layer; its output has dtype `out`.
  TensorId finish(Value value, DType out);

 private:
  static constexpr int kBody = 1 << 12;  // instruction k is kBody + k until finish() knows the number of inputs
  Value input(TensorId tensor);
  Value constant(double value, DType type);
  Value emit(Inst inst);
  DType type_of(Value value) const { return value.id >= kBody ? body_[value.id - kBody].type : inputs_[value.id]; }

  DType type_;
  std::vector<TensorId> tensors_;
  std::vector<DType> inputs_;
  std::vector<Inst> body_;
};

}  // namespace tuyere
