// SPDX-License-Identifier: Apache-2.0
#include "core/network/infer/check.h"

#include <algorithm>

namespace tuyere::inference {

const Check& Check::inputs(size_t count) const {
  USER_CHECK(in_.size() == count, "takes " << count << (count == 1 ? " input" : " inputs") << ", got " << in_.size());
  return *this;
}

const Check& Check::inputs_at_least(size_t count) const {
  USER_CHECK(in_.size() >= count, "takes at least " << count << (count == 1 ? " input" : " inputs") << ", got " << in_.size());
  return *this;
}

const Check& Check::same_dtype(size_t count) const {
  for (size_t k = 1; k < std::min(count, in_.size()); ++k)
    USER_CHECK(in_[k].dtype == in_[0].dtype, "input " << k << " is " << name(in_[k].dtype) << ", input 0 is " << name(in_[0].dtype));
  return *this;
}

const Check& Check::rank(int rank, size_t input) const {
  USER_CHECK(rank_of(in_[input]) == rank, "input " << input << " has rank " << rank_of(in_[input]) << ", needs " << rank);
  return *this;
}

const Check& Check::rank_at_least(int rank, size_t input) const {
  USER_CHECK(rank_of(in_[input]) >= rank, "input " << input << " has rank " << rank_of(in_[input]) << ", needs at least " << rank);
  return *this;
}

const Check& Check::same_rank(size_t a, size_t b) const {
  USER_CHECK(rank_of(in_[a]) == rank_of(in_[b]), "inputs " << a << " and " << b << " have ranks " << rank_of(in_[a]) << " and " << rank_of(in_[b]));
  return *this;
}

const Check& Check::index(size_t input) const {
  const DType type = in_[input].dtype;
  USER_CHECK(type == DType::I32 || type == DType::I64, "input " << input << " is an index and must be i32 or i64, got " << name(type));
  return *this;
}

int64_t checked_axis(int64_t axis, int rank) {
  USER_CHECK(axis >= -rank && axis < rank, "axis " << axis << " out of range for rank " << rank);
  return axis < 0 ? axis + rank : axis;
}

std::vector<int64_t> checked_axes(const std::vector<int64_t>& axes, int rank) {
  std::vector<int64_t> result;
  for (int64_t axis : axes) {
    const int64_t a = checked_axis(axis, rank);
    USER_CHECK(std::find(result.begin(), result.end(), a) == result.end(), "axis " << axis << " appears twice");
    result.push_back(a);
  }
  return result;
}

bool may_equal(const Dim& a, const Dim& b) { return !a.is_const() || !b.is_const() || a.value() == b.value(); }

bool may_be_at_least(const Dim& a, int64_t b) { return !a.is_const() || a.value() >= b; }

void check_same_shape(const Shape& a, const Shape& b, const std::string& what) {
  USER_CHECK(a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), may_equal), what << " has shape " << str(a) << ", needs " << str(b));
}

void check_broadcasts_to(const Shape& from, const Shape& to, const std::string& what) {
  bool fits = from.size() <= to.size();
  for (size_t k = 0; fits && k < from.size(); ++k) {
    const Dim& d = from[from.size() - 1 - k];
    fits = d.is_const(1) || may_equal(d, to[to.size() - 1 - k]);
  }
  USER_CHECK(fits, what << " of shape " << str(from) << " does not broadcast to " << str(to));
}

namespace {

/// Type a value is computed with: casts to storage types are held in their compute type.
DType held_type(const Program& p, int value) {
  const int inputs = static_cast<int>(p.inputs.size());
  return compute_type(value < inputs ? p.inputs[value] : p.body[value - inputs].type);
}

void check_inst(const Program& p, size_t k, const std::string& what) {
  const Inst& inst = p.body[k];
  const FnInfo& fn = info(inst.fn);
  const int arity = fn.arity;
  const int here = static_cast<int>(p.inputs.size() + k);
  for (int a = 0; a < 3; ++a) {
    const int value = inst.args[a];
    USER_CHECK(a < arity ? value >= 0 && value < here : value == -1, what << ": v" << here << " = " << fn.name << " has a bad argument " << a);
  }
  if (inst.fn == Fn::cast) return;
  USER_CHECK(inst.type == compute_type(inst.type), what << ": v" << here << " = " << fn.name << " computes in " << name(inst.type));
  if (inst.fn == Fn::constant) return;
  const std::string_view result = fn.result;
  const int first = result == "arg1" ? 1 : 0;
  const DType type = held_type(p, inst.args[first]);
  for (int a = first + 1; a < arity; ++a)
    USER_CHECK(held_type(p, inst.args[a]) == type,
               what << ": v" << here << " = " << fn.name << " mixes " << name(type) << " and " << name(held_type(p, inst.args[a])));
  USER_CHECK(first == 0 || held_type(p, inst.args[0]) == DType::Bool, what << ": v" << here << " = " << fn.name << " needs a bool condition");
  const DType want = result == "bool" ? DType::Bool : type;
  USER_CHECK(inst.type == want, what << ": v" << here << " = " << fn.name << " is " << name(inst.type) << ", needs " << name(want));
}

}  // namespace

void check_program(const Program& p, const std::string& what) {
  for (DType type : p.inputs) USER_CHECK(type == compute_type(type), what << ": input type " << name(type) << " is not a compute type");
  for (size_t k = 0; k < p.body.size(); ++k) check_inst(p, k, what);
  const int values = static_cast<int>(p.inputs.size() + p.body.size());
  for (int out : p.outputs) USER_CHECK(out >= 0 && out < values, what << ": output v" << out << " does not exist");
}

void check_program(const Program& p, const std::string& what, size_t first, Inputs in) {
  check_program(p, what);
  USER_CHECK(p.inputs.size() == first + in.size(), what << ": the program has " << p.inputs.size() << " inputs, needs " << first + in.size());
  for (size_t k = 0; k < in.size(); ++k)
    USER_CHECK(p.inputs[first + k] == compute_type(in[k].dtype), what << ": input i" << first + k << " is " << name(p.inputs[first + k]) << ", but "
                                                                      << name(in[k].dtype) << " is computed in " << name(compute_type(in[k].dtype)));
}

Shape check_prologue(const Program& prologue, Inputs in, size_t outputs) {
  if (prologue.empty()) return in[0].shape;
  const Inputs own = in.first(prologue.inputs.size());
  USER_CHECK(!own.empty(), "prologue: the program has no inputs");
  check_program(prologue, "prologue", 0, own);
  USER_CHECK(prologue.outputs.size() == outputs, "prologue: the program has " << prologue.outputs.size() << " outputs, needs " << outputs);
  Shape shape = own[0].shape;
  for (const TensorType& type : own.subspan(1)) shape = broadcast(shape, type.shape);
  return shape;
}

void check_epilogue(const Program& epilogue, Inputs extra, const Shape& out) {
  if (epilogue.empty()) {
    USER_CHECK(extra.empty(), "has " << extra.size() << " inputs too many for an empty epilogue");
    return;
  }
  check_program(epilogue, "epilogue", 1, extra);
  USER_CHECK(epilogue.outputs.size() == 1, "epilogue: the program has " << epilogue.outputs.size() << " outputs, needs 1");
  for (size_t k = 0; k < extra.size(); ++k) check_broadcasts_to(extra[k].shape, out, "epilogue input i" + std::to_string(k + 1));
}

}  // namespace tuyere::inference
