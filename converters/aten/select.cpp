// SPDX-License-Identifier: Apache-2.0
// where and the masked ops.
#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

using V = Pw::Value;

void where(Convert& c) {
  Pw p(c, c.out_type().dtype);
  V cond = p.condition("condition");
  c.out(p.finish(p(Fn::where, {cond, p.in("self"), p.in("other")}), c.out_type().dtype));
}

/// The value takes the type of the tensor: a scalar beyond a short float's range becomes infinite, as a store would make it.
void masked_fill(Convert& c) {
  Pw p(c, c.out_type().dtype);
  V mask = p.condition("mask");
  c.out(p.finish(p(Fn::where, {mask, p.in("value"), p.in("self")}), c.out_type().dtype));
}

void fill(Convert& c) {
  const TensorType type = c.out_type();
  if (c.is_number("value") && !c.is_integral("value")) return c.out(filled(c, c.number("value")));
  c.out(c.expand(c.cast(c.operand("value", type.dtype), type.dtype), type.shape));
}

}  // namespace

void add_select(ConverterTable& t) {
  add_each(t, {"aten::where.self", "aten::where.ScalarSelf", "aten::where.ScalarOther", "aten::where.Scalar"}, where);
  add_each(t, {"aten::masked_fill.Scalar", "aten::masked_fill.Tensor"}, masked_fill);
  add_each(t, {"aten::fill.Scalar", "aten::fill.Tensor"}, fill);
}

}  // namespace tuyere
