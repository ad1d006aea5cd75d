// SPDX-License-Identifier: Apache-2.0
// Running sums and products, top-k, sort and what sorting tells.
#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

template <CumKind kind>
void cumulate(Convert& c) {
  TensorId x = c.tensor("self");
  DType type = c.out_type().dtype;
  if (rank_of(c, x) == 0) return c.out(c.cast(x, type));
  c.out(c.add(Cumulate{kind, c.axis("dim", x), type}, {c.cast(x, type)}));
}

/// A scalar is its own order.
bool scalar(Convert& c, TensorId x) {
  if (rank_of(c, x) > 0) return false;
  c.out(x, 0);
  c.out(c.add(Fill{.type = DType::I64, .shape = {}}, {}), 1);
  return true;
}

void topk(Convert& c) {
  TensorId x = c.tensor("self");
  if (scalar(c, x)) return;
  TopK op{.k = c.dim("k"), .axis = c.axis("dim", x), .largest = c.boolean("largest"), .sorted = c.boolean("sorted")};
  std::vector<TensorId> y = c.add_n(op, {x});
  c.out(y[0], 0);
  c.out(y[1], 1);
}

void sort(Convert& c) {
  TensorId x = c.tensor("self");
  if (scalar(c, x)) return;
  std::vector<TensorId> y = c.add_n(Sort{c.axis("dim", x), c.boolean("descending")}, {x});
  c.out(y[0], 0);
  c.out(y[1], 1);
}

void kthvalue(Convert& c) {
  TensorId x = c.tensor("self");
  if (scalar(c, x)) return;
  const int64_t axis = c.axis("dim", x);
  const Dim k = c.dim("k");
  std::vector<TensorId> y = c.add_n(Sort{axis, false}, {x});
  for (int output = 0; output < 2; ++output) c.out(c.reshape(c.slice(y[output], axis, k - 1, k), c.out_type(output).shape), output);
}

void argsort(Convert& c) {
  TensorId x = c.tensor("self");
  if (rank_of(c, x) == 0) return c.out(filled(c, 0));
  c.out(c.add_n(Sort{c.axis("dim", x), c.boolean("descending")}, {x})[1]);
}

}  // namespace

void add_order(ConverterTable& t) {
  t.add("aten::cumsum", cumulate<CumKind::sum>);
  t.add("aten::cumprod", cumulate<CumKind::prod>);
  t.add("aten::topk", topk);
  add_each(t, {"aten::sort", "aten::sort.stable"}, sort);
  t.add("aten::kthvalue", kthvalue);
  add_each(t, {"aten::argsort", "aten::argsort.stable"}, argsort);
}

}  // namespace tuyere
