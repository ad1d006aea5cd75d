// SPDX-License-Identifier: Apache-2.0
// Functions of one tensor. Integers are promoted to the recorded output type first, as PyTorch does.
#include <cmath>
#include <numbers>

#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

struct UnaryRow {
  const char* op;
  Fn fn;
};

// A row a line.
// clang-format off
constexpr UnaryRow kFunctions[] = {
    {"abs", Fn::abs},
    {"acos", Fn::acos},
    {"acosh", Fn::acosh},
    {"asin", Fn::asin},
    {"asinh", Fn::asinh},
    {"atan", Fn::atan},
    {"atanh", Fn::atanh},
    {"cos", Fn::cos},
    {"cosh", Fn::cosh},
    {"erf", Fn::erf},
    {"erfc", Fn::erfc},
    {"exp", Fn::exp},
    {"exp2", Fn::exp2},
    {"expm1", Fn::expm1},
    {"lgamma", Fn::lgamma},
    {"log", Fn::log},
    {"log10", Fn::log10},
    {"log1p", Fn::log1p},
    {"log2", Fn::log2},
    {"neg", Fn::neg},
    {"reciprocal", Fn::recip},
    {"relu", Fn::relu},
    {"rsqrt", Fn::rsqrt},
    {"sigmoid", Fn::sigmoid},
    {"sign", Fn::sign},
    {"sgn", Fn::sign},
    {"sin", Fn::sin},
    {"sinh", Fn::sinh},
    {"sqrt", Fn::sqrt},
    {"square", Fn::square},
    {"tan", Fn::tan},
    {"tanh", Fn::tanh},
    {"bitwise_not", Fn::bitwise_not},
};
// clang-format on
constexpr UnaryRow kRounding[] = {{"ceil", Fn::ceil}, {"floor", Fn::floor}, {"trunc", Fn::trunc}, {"fix", Fn::trunc}, {"round", Fn::round}};

void add_function(ConverterTable& t, const char* name, Fn fn) {
  t.add(std::string("aten::") + name, [fn](Convert& c) {
    Pw p(c, c.out_type().dtype);
    c.out(p.finish(p(fn, {p.in("self")}), c.out_type().dtype));
  });
}

/// Rounding an integer is the identity.
void add_rounding(ConverterTable& t, const char* name, Fn fn) {
  t.add(std::string("aten::") + name, [fn](Convert& c) {
    TensorId x = c.tensor("self");
    if (!is_float(c.type(x).dtype)) return c.out(x);
    Pw p(c, c.out_type().dtype);
    c.out(p.finish(p(fn, {p.in(x)}), c.out_type().dtype));
  });
}

using UnaryBody = Pw::Value (*)(Pw& p, Pw::Value x);
void add_composed(ConverterTable& t, const char* name, UnaryBody body) {
  t.add(std::string("aten::") + name, [body](Convert& c) {
    Pw p(c, c.out_type().dtype);
    c.out(p.finish(body(p, p.in("self")), c.out_type().dtype));
  });
}

void add_composed_functions(ConverterTable& t) {
  using V = Pw::Value;
  add_composed(t, "frac", [](Pw& p, V x) { return p(Fn::sub, {x, p(Fn::trunc, {x})}); });
  add_composed(t, "deg2rad", [](Pw& p, V x) { return p(Fn::mul, {x, p.num(std::numbers::pi / 180)}); });
  add_composed(t, "rad2deg", [](Pw& p, V x) { return p(Fn::mul, {x, p.num(180 / std::numbers::pi)}); });
  add_composed(t, "sinc", [](Pw& p, V x) {
    V angle = p(Fn::mul, {x, p.num(std::numbers::pi)});
    return p(Fn::where, {p(Fn::eq, {x, p.num(0)}), p.num(1), p(Fn::div, {p(Fn::sin, {angle}), angle})});
  });
  add_composed(t, "positive", [](Pw&, V x) { return x; });
}

void round_decimals(Convert& c) {
  Pw p(c, c.out_type().dtype);
  double scale = std::pow(10.0, std::abs(c.number("decimals")));
  bool up = c.number("decimals") >= 0;
  Pw::Value scaled = p(up ? Fn::mul : Fn::div, {p.in("self"), p.num(scale)});
  c.out(p.finish(p(up ? Fn::div : Fn::mul, {p(Fn::round, {scaled}), p.num(scale)}), c.out_type().dtype));
}

void logit(Convert& c) {
  Pw p(c, c.out_type().dtype);
  Pw::Value x = p.in("self");
  if (c.has("eps")) x = p(Fn::clamp, {x, p.num(c.number("eps")), p.num(1 - c.number("eps"))});
  c.out(p.finish(p(Fn::log, {p(Fn::div, {x, p(Fn::sub, {p.num(1), x})})}), c.out_type().dtype));
}

void nan_to_num(Convert& c) {
  TensorId x = c.tensor("self");
  DType type = c.type(x).dtype;
  if (!is_float(type)) return c.out(x);
  double largest = type == DType::F16    ? 65504.0
                   : type == DType::BF16 ? 3.3895313892515355e38
                   : type == DType::F32  ? 3.4028234663852886e38
                                         : 1.7976931348623157e308;
  Pw p(c, type);
  Pw::Value v = p.in(x);
  Pw::Value zero = p.num(c.has("nan") ? c.number("nan") : 0.0);
  Pw::Value high = p.num(c.has("posinf") ? c.number("posinf") : largest), low = p.num(c.has("neginf") ? c.number("neginf") : -largest);
  Pw::Value finite = p(Fn::where, {p(Fn::isinf, {v}), p(Fn::where, {p(Fn::gt, {v, p.num(0)}), high, low}), v});
  c.out(p.finish(p(Fn::where, {p(Fn::isnan, {v}), zero, finite}), type));
}

}  // namespace

void add_unary(ConverterTable& t) {
  for (const UnaryRow& row : kFunctions) add_function(t, row.op, row.fn);
  for (const UnaryRow& row : kRounding) add_rounding(t, row.op, row.fn);
  add_composed_functions(t);
  add_function(t, "absolute", Fn::abs);
  add_function(t, "negative", Fn::neg);
  add_function(t, "special_erf", Fn::erf);
  add_function(t, "special_expit", Fn::sigmoid);
  t.add("aten::round.decimals", round_decimals);
  add_each(t, {"aten::logit", "aten::special_logit"}, logit);
  t.add("aten::nan_to_num", nan_to_num);
}

}  // namespace tuyere
