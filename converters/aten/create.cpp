// SPDX-License-Identifier: Apache-2.0
// Tensors out of nothing: fills, ranges, and triangles by comparing ranges.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/indices.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

void full(Convert& c, std::string_view arg) {
  const TensorType type = c.out_type();
  if (c.is_tensor(arg)) return c.out(c.expand(c.cast(c.tensor(arg), type.dtype), type.shape));
  if (c.is_integral(arg)) {
    Dim value = c.dim(arg);
    constexpr int64_t kExact = int64_t{1} << 53;
    if (!value.is_const()) return c.out(c.add(Fill{.type = type.dtype, .shape = type.shape, .use_dim = true, .dim = value}, {}));
    if (type.dtype == DType::I64 && std::abs(value.value()) > kExact) return c.out(c.expand(c.literal(value.value(), DType::I64), type.shape));
  }
  c.out(filled(c, c.number(arg)));
}

/// Memory that nobody reads before it is written may hold anything.
void empty(Convert& c) {
  static constexpr const char* kOverwriting[] = {"aten::fill.Scalar", "aten::fill.Tensor", "aten::copy",       "aten::full_like",
                                                 "aten::zeros_like",  "aten::ones_like",   "aten::bernoulli.p"};
  const Arg self{Arg::Value{c.node.outputs.at(0)}};
  for (const SourceNode& reader : c.graph.nodes) {
    for (const auto& [name, arg] : reader.args) {
      bool overwrites = name == "self" && std::find(std::begin(kOverwriting), std::end(kOverwriting), reader.op) != std::end(kOverwriting);
      USER_CHECK(overwrites || !(arg == self), "uninitialized memory is read by " << reader.op);
    }
  }
  const std::vector<ValueId>& outputs = c.graph.outputs;
  USER_CHECK(std::find(outputs.begin(), outputs.end(), c.node.outputs[0]) == outputs.end(), "uninitialized memory is an output");
  c.out(filled(c, 0));
}

/// start + step * k. Whole numbers count exactly, others are computed in the output's arithmetic type.
void arange(Convert& c) {
  const TensorType type = c.out_type();
  const Dim& count = type.shape.at(0);
  auto whole = [&](const char* arg) { return !c.has(arg) || c.is_integral(arg) || c.number(arg) == static_cast<double>(static_cast<int64_t>(c.number(arg))); };
  auto value = [&](const char* arg, int64_t otherwise) {
    return !c.has(arg) ? Dim(otherwise) : c.is_integral(arg) ? c.dim(arg) : Dim(static_cast<int64_t>(c.number(arg)));
  };
  if (whole("start") && whole("step")) return c.out(c.add(Iota{.type = type.dtype, .count = count, .start = value("start", 0), .step = value("step", 1)}, {}));
  USER_CHECK(is_float(type.dtype), "an integer range with a fractional start or step");
  Pw p(c, type.dtype);
  Pw::Value k = p.in(along(c, 0, count));
  Pw::Value scaled = c.has("step") ? p(Fn::mul, {k, p.in("step")}) : k;
  c.out(p.finish(p(Fn::add, {p.in("start"), scaled}), type.dtype));
}

/// Counts up from the start in the first half and down from the end in the second, as PyTorch does, so that both ends are exact.
void linspace(Convert& c) {
  const TensorType type = c.out_type();
  int64_t steps = c.integer("steps");
  USER_CHECK(is_float(type.dtype), "linspace of integers");
  if (steps == 1) return c.out(c.expand(c.cast(c.operand("start", type.dtype), type.dtype), type.shape));
  Pw p(c, type.dtype);
  Pw::Value k = p.in(along(c, 0, steps)), start = p.in("start"), end = p.in("end");
  Pw::Value step = p(Fn::div, {p(Fn::sub, {end, start}), p.num(static_cast<double>(steps - 1))});
  Pw::Value up = p(Fn::add, {start, p(Fn::mul, {step, k})});
  Pw::Value down = p(Fn::sub, {end, p(Fn::mul, {step, p(Fn::sub, {p.num(static_cast<double>(steps - 1)), k})})});
  c.out(p.finish(p(Fn::where, {p(Fn::lt, {k, p.num(static_cast<double>(steps / 2))}), up, down}), type.dtype));
}

/// Row and column numbers of the last two dimensions as [H,1] and [W].
struct Grid {
  TensorId rows, columns;
};
Grid grid(Convert& c, Shape shape) {
  const Dim& height = shape.at(shape.size() - 2);
  return {c.reshape(along(c, 0, height), {height, 1}), along(c, 0, shape.back())};
}

/// Keeps x where column - row compares with the diagonal, 0 elsewhere.
template <Fn keep>
void triangle(Convert& c) {
  TensorId x = c.tensor("self");
  USER_CHECK(rank_of(c, x) >= 2, "a triangle of a tensor of rank " << rank_of(c, x));
  Grid g = grid(c, c.type(x).shape);
  Pw test(c, DType::I64);
  Pw::Value gap = test(Fn::sub, {test.in(g.columns), test.in(g.rows)});
  TensorId inside = test.finish(test(keep, {gap, test.in("diagonal")}), DType::Bool);
  Pw p(c, c.out_type().dtype);
  Pw::Value condition = p.condition(inside);
  c.out(p.finish(p(Fn::where, {condition, p.in(x), p.num(0)}), c.out_type().dtype));
}

void eye(Convert& c) {
  Grid g = grid(c, c.out_type().shape);
  Pw p(c, DType::I64);
  c.out(p.finish(p(Fn::eq, {p.in(g.columns), p.in(g.rows)}), c.out_type().dtype));
}

}  // namespace

void add_create(ConverterTable& t) {
  add_each(t, {"aten::full", "aten::full_like", "aten::new_full"}, [](Convert& c) { full(c, "fill_value"); });
  t.add("aten::scalar_tensor", [](Convert& c) { full(c, "s"); });
  add_each(t, {"aten::zeros", "aten::zeros_like", "aten::new_zeros"}, [](Convert& c) { c.out(filled(c, 0)); });
  add_each(t, {"aten::ones", "aten::ones_like", "aten::new_ones"}, [](Convert& c) { c.out(filled(c, 1)); });
  add_each(t, {"aten::empty.memory_format", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided", "aten::empty_permuted"},
           empty);
  add_each(t, {"aten::arange", "aten::arange.start", "aten::arange.start_step"}, arange);
  t.add("aten::linspace", linspace);
  t.add("aten::tril", triangle<Fn::le>);
  t.add("aten::triu", triangle<Fn::ge>);
  add_each(t, {"aten::eye", "aten::eye.m"}, eye);
}

}  // namespace tuyere
