// SPDX-License-Identifier: Apache-2.0
// Comparisons and logic: the arguments are promoted to their common type, the result is bool.
#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

using V = Pw::Value;

struct ComparisonRow {
  const char* name;
  Fn fn;
};
constexpr ComparisonRow kComparisons[] = {{"eq", Fn::eq},         {"ne", Fn::ne},      {"lt", Fn::lt},           {"le", Fn::le},
                                          {"gt", Fn::gt},         {"ge", Fn::ge},      {"not_equal", Fn::ne},    {"less", Fn::lt},
                                          {"less_equal", Fn::le}, {"greater", Fn::gt}, {"greater_equal", Fn::ge}};
constexpr ComparisonRow kLogic[] = {{"logical_and", Fn::logical_and}, {"logical_or", Fn::logical_or}, {"logical_xor", Fn::logical_xor}};

void add_comparison(ConverterTable& t, const std::string& op, Fn fn) {
  t.add(op, [fn](Convert& c) {
    DType type = promoted(c, {"self", "other"});
    Pw p(c, type);
    c.out(p.finish(p(fn, {p.rounded("self", type), p.rounded("other", type)}), DType::Bool));
  });
}

void add_logic(ConverterTable& t, const std::string& op, Fn fn) {
  t.add(op, [fn](Convert& c) {
    Pw p(c, promoted(c, {"self", "other"}));
    c.out(p.finish(p(fn, {p.in("self"), p.in("other")}), c.out_type().dtype));
  });
}

void logical_not(Convert& c) {
  Pw p(c, c.type(c.tensor("self")).dtype);
  c.out(p.finish(p(Fn::logical_not, {p.in("self")}), c.out_type().dtype));
}

/// A predicate on floats; integers have the fixed answer `of_int`.
using Predicate = V (*)(Pw& p, V x);
void add_predicate(ConverterTable& t, const char* op, bool of_int, Predicate predicate) {
  t.add(op, [of_int, predicate](Convert& c) {
    TensorId x = c.tensor("self");
    if (!is_float(c.type(x).dtype)) return c.out(filled(c, of_int));
    Pw p(c, c.type(x).dtype);
    c.out(p.finish(predicate(p, p.in(x)), DType::Bool));
  });
}

V finite(Pw& p, V x) { return p(Fn::logical_not, {p(Fn::logical_or, {p(Fn::isnan, {x}), p(Fn::isinf, {x})})}); }

/// |a - b| <= atol + rtol * |b|
void isclose(Convert& c) {
  Pw p(c, promoted(c, {"self", "other"}));
  V a = p.in("self"), b = p.in("other");
  USER_CHECK(is_float(p.type()), "isclose of integers");
  V gap = p(Fn::abs, {p(Fn::sub, {a, b})});
  V room = p(Fn::add, {p.num(c.number("atol")), p(Fn::mul, {p.num(c.number("rtol")), p(Fn::abs, {b})})});
  V close = p(Fn::logical_or, {p(Fn::eq, {a, b}), p(Fn::logical_and, {finite(p, gap), p(Fn::logical_and, {finite(p, b), p(Fn::le, {gap, room})})})});
  if (c.boolean("equal_nan")) close = p(Fn::logical_or, {close, p(Fn::logical_and, {p(Fn::isnan, {a}), p(Fn::isnan, {b})})});
  c.out(p.finish(close, DType::Bool));
}

}  // namespace

void add_compare(ConverterTable& t) {
  for (const ComparisonRow& row : kComparisons) {
    for (const char* overload : {".Tensor", ".Scalar"}) add_comparison(t, std::string("aten::") + row.name + overload, row.fn);
  }
  for (const ComparisonRow& row : kLogic) add_logic(t, std::string("aten::") + row.name, row.fn);
  t.add("aten::logical_not", logical_not);
  add_predicate(t, "aten::isnan", false, [](Pw& p, V x) { return p(Fn::isnan, {x}); });
  add_predicate(t, "aten::isinf", false, [](Pw& p, V x) { return p(Fn::isinf, {x}); });
  add_predicate(t, "aten::isfinite", true, finite);
  add_predicate(t, "aten::isposinf", false, [](Pw& p, V x) { return p(Fn::logical_and, {p(Fn::isinf, {x}), p(Fn::gt, {x, p.num(0)})}); });
  add_predicate(t, "aten::isneginf", false, [](Pw& p, V x) { return p(Fn::logical_and, {p(Fn::isinf, {x}), p(Fn::lt, {x, p.num(0)})}); });
  t.add("aten::isclose", isclose);
}

}  // namespace tuyere
