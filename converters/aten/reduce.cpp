// SPDX-License-Identifier: Apache-2.0
// Reductions along dimensions, arg-reductions and norms.
#include <algorithm>
#include <cmath>

#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

bool keepdim(const Convert& c) { return c.has("keepdim") && c.boolean("keepdim"); }

/// The axes argument of an op whose "dim" may be missing (all), one int or a list.
std::vector<int64_t> reduced_axes(const Convert& c, TensorId x) {
  if (c.has("dim")) return c.axes("dim", x);
  std::vector<int64_t> all;
  for (int64_t k = 0; k < rank_of(c, x); ++k) all.push_back(k);
  return all;
}

TensorId reduce(Convert& c, ReduceKind kind, TensorId x, std::vector<int64_t> axes, DType type, double correction = 0) {
  if (axes.empty()) {  // a scalar has nothing to reduce
    USER_CHECK(kind != ReduceKind::var, "the variance of a scalar");
    return c.cast(x, type);
  }
  return c.add(Reduce{.kind = kind, .axes = std::move(axes), .keepdim = keepdim(c), .correction = correction, .type = type}, {x});
}

template <ReduceKind kind>
void plain(Convert& c) {
  TensorId x = c.tensor("self");
  DType from = c.type(x).dtype, type = c.out_type().dtype;
  if (type == DType::Bool) return c.out(reduce(c, kind == ReduceKind::max ? ReduceKind::any : ReduceKind::all, x, reduced_axes(c, x), type));
  // Reduce accumulates short floats in f32 and integers in i64: the other results convert their input first, as `dtype=` does.
  bool widens = from == DType::Bool || (is_float(type) != is_float(from)) || (type == DType::F64 && from != type);
  c.out(reduce(c, kind, widens ? c.cast(x, type) : x, reduced_axes(c, x), type));
}

/// any and all test every element against zero.
template <ReduceKind kind>
void logical(Convert& c) {
  TensorId x = c.tensor("self");
  if (c.type(x).dtype != DType::Bool) {
    Pw p(c, c.type(x).dtype);
    x = p.finish(p(Fn::ne, {p.in(x), p.num(0)}), DType::Bool);
  }
  c.out(c.cast(reduce(c, kind, x, reduced_axes(c, x), DType::Bool), c.out_type().dtype));
}

double correction_of(const Convert& c) {
  if (c.has("unbiased")) return c.boolean("unbiased") ? 1 : 0;
  return c.has("correction") ? c.number("correction") : 1;
}

TensorId variance(Convert& c, DType type) {
  TensorId x = c.tensor("self");
  return reduce(c, ReduceKind::var, x, reduced_axes(c, x), type, correction_of(c));
}

void var(Convert& c) { c.out(variance(c, c.out_type().dtype)); }

TensorId deviation(Convert& c) {
  DType type = c.out_type().dtype;
  Pw p(c, type);
  return p.finish(p(Fn::sqrt, {p.in(variance(c, compute_type(type)))}), type);
}

void std_dev(Convert& c) { c.out(deviation(c)); }

template <bool root>
void var_mean(Convert& c) {
  TensorId x = c.tensor("self");
  c.out(root ? deviation(c) : variance(c, c.out_type().dtype), 0);
  c.out(reduce(c, ReduceKind::mean, x, reduced_axes(c, x), c.out_type(1).dtype), 1);
}

TensorId arg_reduce(Convert& c, ArgKind kind, TensorId x, std::optional<int64_t> axis, bool keep, const Shape& shape) {
  if (axis && rank_of(c, x) > 0) return c.add(ArgReduce{kind, *axis, keep}, {x});
  TensorId flat = c.reshape(x, {numel(c.type(x).shape)});
  return c.reshape(c.add(ArgReduce{kind, 0, false}, {flat}), shape);
}

template <ArgKind kind>
void arg(Convert& c) {
  TensorId x = c.tensor("self");
  std::optional<int64_t> axis;
  if (c.has("dim")) axis = c.axis("dim", x);
  c.out(arg_reduce(c, kind, x, axis, keepdim(c), c.out_type().shape));
}

template <ReduceKind kind, ArgKind index>
void with_index(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  if (rank_of(c, x) == 0) {
    c.out(x, 0);
    if (c.used(1)) c.out(c.add(Fill{.type = DType::I64, .shape = {}}, {}), 1);
    return;
  }
  c.out(reduce(c, kind, x, {axis}, c.out_type().dtype), 0);
  if (c.used(1)) c.out(arg_reduce(c, index, x, axis, keepdim(c), {}), 1);
}

void aminmax(Convert& c) {
  TensorId x = c.tensor("self");
  c.out(reduce(c, ReduceKind::min, x, reduced_axes(c, x), c.out_type().dtype), 0);
  c.out(reduce(c, ReduceKind::max, x, reduced_axes(c, x), c.out_type().dtype), 1);
}

/// A pointwise layer of one input in f32 (f64 for f64), so that sums of short floats are taken before rounding.
using NormBody = Pw::Value (*)(Pw& p, Pw::Value x, double order);
TensorId mapped(Convert& c, TensorId x, DType type, double order, NormBody body) {
  Pw p(c, type);
  return p.finish(body(p, p.in(x), order), type);
}

/// (sum |x|^p)^(1/p), with the limits 0, inf and -inf. That of one number is its size, for which no power is taken: it could leave the range.
void vector_norm(Convert& c) {
  TensorId x = c.tensor("self");
  DType out = c.out_type().dtype, wide = compute_type(out);
  const char* name = c.has("ord") ? "ord" : "p";
  double order = c.has(name) ? c.number(name) : 2;
  std::vector<int64_t> axes = reduced_axes(c, x);
  const Shape shape = c.type(x).shape;
  const bool one = std::all_of(axes.begin(), axes.end(), [&](int64_t axis) { return shape[axis].is_const(1); });
  using V = Pw::Value;
  auto total = [&](ReduceKind kind, NormBody body) { return reduce(c, kind, mapped(c, x, wide, order, body), axes, wide); };
  TensorId norm;
  if (std::isinf(order) || (one && order != 0)) {
    norm = total(order > 0 ? ReduceKind::max : ReduceKind::min, [](Pw& p, V v, double) { return p(Fn::abs, {v}); });
  } else if (order == 0) {
    norm = total(ReduceKind::sum, [](Pw& p, V v, double) { return p.as(p(Fn::ne, {v, p.num(0)}), p.type()); });
  } else if (order == 1) {
    norm = total(ReduceKind::sum, [](Pw& p, V v, double) { return p(Fn::abs, {v}); });
  } else if (order == 2) {
    norm = mapped(c, total(ReduceKind::sum, [](Pw& p, V v, double) { return p(Fn::square, {v}); }), wide, order,
                  [](Pw& p, V v, double) { return p(Fn::sqrt, {v}); });
  } else {
    norm = total(ReduceKind::sum, [](Pw& p, V v, double e) { return p(Fn::pow, {p(Fn::abs, {v}), p.num(e)}); });
    norm = mapped(c, norm, wide, 1 / order, [](Pw& p, V v, double e) { return p(Fn::pow, {v, p.num(e)}); });
  }
  c.out(c.cast(norm, out));
}

/// max + log(sum(exp(x - max))); a maximum that is infinite does not enter the difference.
void logsumexp(Convert& c) {
  TensorId x = c.tensor("self");
  DType out = c.out_type().dtype, wide = compute_type(out);
  std::vector<int64_t> axes = reduced_axes(c, x);
  USER_CHECK(!axes.empty(), "the logsumexp of a scalar");
  TensorId high = c.add(Reduce{.kind = ReduceKind::max, .axes = axes, .keepdim = true, .type = wide}, {x});
  Pw guard(c, wide);
  Pw::Value v = guard.in(high);
  TensorId shift = guard.finish(guard(Fn::where, {guard(Fn::isinf, {v}), guard.num(0), v}), wide);
  Pw p(c, wide);
  Pw::Value difference = p(Fn::sub, {p.in(x), p.in(shift)});
  TensorId sum = c.add(Reduce{.kind = ReduceKind::sum, .axes = axes, .keepdim = true, .type = wide}, {p.finish(p(Fn::exp, {difference}), wide)});
  Pw last(c, wide);
  Pw::Value logged = last(Fn::log, {last.in(sum)});
  c.out(c.reshape(last.finish(last(Fn::add, {logged, last.in(shift)}), out), c.out_type().shape));
}

}  // namespace

void add_reductions(ConverterTable& t) {
  add_each(t, {"aten::sum", "aten::sum.dim_IntList"}, plain<ReduceKind::sum>);
  add_each(t, {"aten::mean", "aten::mean.dim"}, plain<ReduceKind::mean>);
  add_each(t, {"aten::amax", "aten::max"}, plain<ReduceKind::max>);
  add_each(t, {"aten::amin", "aten::min"}, plain<ReduceKind::min>);
  add_each(t, {"aten::prod", "aten::prod.dim_int"}, plain<ReduceKind::prod>);
  add_each(t, {"aten::any", "aten::any.dim", "aten::any.dims"}, logical<ReduceKind::any>);
  add_each(t, {"aten::all", "aten::all.dim", "aten::all.dims"}, logical<ReduceKind::all>);
  add_each(t, {"aten::var", "aten::var.dim", "aten::var.correction"}, var);
  add_each(t, {"aten::std", "aten::std.dim", "aten::std.correction"}, std_dev);
  add_each(t, {"aten::var_mean", "aten::var_mean.dim", "aten::var_mean.correction"}, var_mean<false>);
  add_each(t, {"aten::std_mean", "aten::std_mean.dim", "aten::std_mean.correction"}, var_mean<true>);
  t.add("aten::argmax", arg<ArgKind::argmax>);
  t.add("aten::argmin", arg<ArgKind::argmin>);
  t.add("aten::max.dim", with_index<ReduceKind::max, ArgKind::argmax>);
  t.add("aten::min.dim", with_index<ReduceKind::min, ArgKind::argmin>);
  t.add("aten::aminmax", aminmax);
  add_each(t, {"aten::linalg_vector_norm", "aten::norm.Scalar", "aten::norm.ScalarOpt_dim", "aten::norm.ScalarOpt_dim_dtype"}, vector_norm);
  t.add("aten::logsumexp", logsumexp);
}

}  // namespace tuyere
