// SPDX-License-Identifier: Apache-2.0
// Writing by index, functionally: scatter, index_put, select_scatter and their relatives.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/indices.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

void scatter_by(Convert& c, ScatterKind kind, TensorId source) {
  TensorId x = c.tensor("self"), index = as_index(c, c.tensor("index"));
  int64_t axis = c.axis("dim", x);
  if (rank_of(c, x) > 0) return c.out(c.add(ScatterElements{axis, kind}, {x, index, source}));
  auto vector = [&](TensorId v) { return c.reshape(v, {1}); };
  c.out(c.reshape(c.add(ScatterElements{0, kind}, {vector(x), vector(index), vector(source)}), {}));
}

TensorId source_of(Convert& c, std::string_view arg) {
  DType type = c.out_type().dtype;
  return c.cast(c.operand(arg, type), type);
}

ScatterKind kind_of(const std::string& reduce) {
  if (reduce == "add" || reduce == "sum") return ScatterKind::add;
  if (reduce == "multiply" || reduce == "prod") return ScatterKind::mul;
  if (reduce == "amax") return ScatterKind::max;
  USER_CHECK(reduce == "amin", "scatter with reduction '" << reduce << "'");
  return ScatterKind::min;
}

void scatter_reduce(Convert& c) {
  USER_CHECK(!c.has("include_self") || c.boolean("include_self"), "scatter_reduce with include_self=False");
  scatter_by(c, kind_of(c.text("reduce")), source_of(c, c.has("src") ? "src" : "value"));
}

/// x where the mask of its leading dimensions is false, `value` where it is true.
void put_masked(Convert& c, TensorId x, TensorId mask, TensorId value) {
  USER_CHECK(numel(c.type(value).shape).is_const(1), "values of shape " << str(c.type(value).shape) << " under a mask: their number depends on the data");
  Shape shape = c.type(mask).shape;
  while (static_cast<int64_t>(shape.size()) < rank_of(c, x)) shape.push_back(1);
  DType type = c.out_type().dtype;
  Pw p(c, type);
  Pw::Value condition = p.condition(c.reshape(mask, shape));
  c.out(p.finish(p(Fn::where, {condition, p.in(c.reshape(value, {})), p.in(x)}), type));
}

void index_put(Convert& c) {
  TensorId x = c.tensor("self"), values = c.cast(c.tensor("values"), c.out_type().dtype);
  const bool accumulate = c.has("accumulate") && c.boolean("accumulate");
  ArgList list = c.list("indices");
  if (list.size() == 1 && !list[0].is_none() && !accumulate) {
    TensorId mask = c.tensor_at(list[0], "indices");
    if (c.type(mask).dtype == DType::Bool) return put_masked(c, x, mask, values);
  }
  Indices indices = read_indices(c);
  std::vector<int64_t> perm = indices.to_front(rank_of(c, x));
  if (!perm.empty()) {
    x = c.permute(x, perm);
    for (size_t k = 0; k < indices.axes.size(); ++k) indices.axes[k] = static_cast<int64_t>(k);
  }
  std::vector<TensorId> inputs{x, values};
  inputs.insert(inputs.end(), indices.tensors.begin(), indices.tensors.end());
  TensorId y = c.add(IndexPut{indices.axes, accumulate}, inputs);
  std::vector<int64_t> back(perm.size());
  for (size_t k = 0; k < perm.size(); ++k) back[perm[k]] = static_cast<int64_t>(k);
  c.out(c.permute(y, back));
}

/// index_add, index_copy, index_fill: whole slices along one dimension.
void put_along(Convert& c, TensorId values, bool accumulate) {
  TensorId x = c.tensor("self"), index = as_index(c, c.tensor("index"));
  USER_CHECK(rank_of(c, x) > 0, "writing by index into a scalar");
  if (rank_of(c, index) == 0) index = c.reshape(index, {1});
  c.out(c.add(IndexPut{{c.axis("dim", x)}, accumulate}, {x, values, index}));
}

/// Where there are no elements, eager fills none and looks at no index.
void index_fill(Convert& c) {
  TensorId x = c.tensor("self");
  if (numel(c.type(x).shape).is_const(0)) return c.out(x);
  put_along(c, source_of(c, "value"), false);
}

void index_add(Convert& c) {
  TensorId source = source_of(c, "source");
  if (c.has("alpha") && c.number("alpha") != 1) {
    Pw p(c, c.out_type().dtype);
    source = p.finish(p(Fn::mul, {p.in(source), p.in("alpha")}), c.out_type().dtype);
  }
  put_along(c, source, true);
}

/// src in place of x[start : start + step * n : step].
void replace_slice(Convert& c, TensorId x, TensorId src, int64_t axis, const Dim& start, int64_t step) {
  const Dim size = c.type(x).shape.at(axis), count = c.type(src).shape.at(axis);
  src = c.cast(src, c.out_type().dtype);
  if (step != 1) {
    TensorId index = c.add(Iota{.type = DType::I64, .count = count, .start = start, .step = step}, {});
    return c.out(c.add(IndexPut{{axis}, false}, {x, src, index}));
  }
  std::vector<TensorId> parts;
  if (!start.is_const(0)) parts.push_back(c.slice(x, axis, 0, start));
  parts.push_back(src);
  if (start + count != size) parts.push_back(c.slice(x, axis, start + count, size));
  c.out(parts.size() == 1 ? src : c.add(Concat{axis}, parts));
}

Dim scatter_position(Dim at, const Dim& size) {
  if (at.is_const() && at.value() < 0) at = size + at;
  return at.is_const() && size.is_const() ? Dim(std::clamp<int64_t>(at.value(), 0, size.value())) : at;
}

void slice_scatter(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  Dim start = scatter_position(c.has("start") ? c.dim("start") : Dim(0), c.type(x).shape.at(axis));
  replace_slice(c, x, c.tensor("src"), axis, start, c.has("step") ? c.integer("step") : 1);
}

void select_scatter(Convert& c) {
  TensorId x = c.tensor("self"), src = c.tensor("src");
  int64_t axis = c.axis("dim", x);
  Shape shape = c.type(x).shape;
  Dim at = scatter_position(c.dim("index"), shape.at(axis));
  shape[axis] = 1;
  replace_slice(c, x, c.reshape(src, shape), axis, at, 1);
}

}  // namespace

void add_scatter(ConverterTable& t) {
  t.add("aten::scatter.src", [](Convert& c) { scatter_by(c, ScatterKind::set, source_of(c, "src")); });
  t.add("aten::scatter.value", [](Convert& c) { scatter_by(c, ScatterKind::set, source_of(c, "value")); });
  t.add("aten::scatter_add", [](Convert& c) { scatter_by(c, ScatterKind::add, source_of(c, "src")); });
  add_each(t, {"aten::scatter.reduce", "aten::scatter.value_reduce", "aten::scatter_reduce.two"}, scatter_reduce);
  add_each(t, {"aten::index_put", "aten::_unsafe_index_put"}, index_put);
  t.add("aten::index_add", index_add);
  t.add("aten::index_copy", [](Convert& c) { put_along(c, source_of(c, "source"), false); });
  add_each(t, {"aten::index_fill.int_Scalar", "aten::index_fill.int_Tensor"}, index_fill);
  t.add("aten::slice_scatter", slice_scatter);
  t.add("aten::select_scatter", select_scatter);
}

}  // namespace tuyere
