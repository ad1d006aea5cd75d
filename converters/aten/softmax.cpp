// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// Statistics are f32 whatever the input, so half_to_float and dtype= only say what is stored; integers convert first.
TensorId normalized(Convert& c, bool log) {
  TensorId x = c.tensor("self");
  DType type = c.out_type().dtype;
  if (!is_float(c.type(x).dtype) || bits(c.type(x).dtype) < bits(type)) x = c.cast(x, type);
  if (rank_of(c, x) == 0) return c.add(Fill{.type = type, .shape = {}, .value = log ? 0.0 : 1.0}, {});
  return c.add(Softmax{.axis = c.axis("dim", x), .log = log, .type = type}, {x});
}

/// Rows that are -inf everywhere give 0 instead of NaN.
void safe_softmax(Convert& c) {
  TensorId x = c.tensor("self"), y = normalized(c, false);
  Pw test(c, c.type(x).dtype);
  TensorId masked = test.finish(test(Fn::eq, {test.in(x), test.num(-std::numeric_limits<double>::infinity())}), DType::Bool);
  TensorId empty = c.add(Reduce{.kind = ReduceKind::all, .axes = {c.axis("dim", x)}, .keepdim = true, .type = DType::Bool}, {masked});
  Pw p(c, c.out_type().dtype);
  Pw::Value condition = p.condition(empty);
  c.out(p.finish(p(Fn::where, {condition, p.num(0), p.in(y)}), c.out_type().dtype));
}

}  // namespace

void add_softmax(ConverterTable& t) {
  add_each(t, {"aten::_softmax", "aten::softmax.int", "aten::special_softmax"}, [](Convert& c) { c.out(normalized(c, false)); });
  add_each(t, {"aten::_log_softmax", "aten::log_softmax.int", "aten::special_log_softmax"}, [](Convert& c) { c.out(normalized(c, true)); });
  t.add("aten::_safe_softmax", safe_softmax);
}

}  // namespace tuyere
