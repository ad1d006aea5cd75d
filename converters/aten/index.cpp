// SPDX-License-Identifier: Apache-2.0
// Reading by index: advanced indexing, gather, embedding, diagonals, windows.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/indices.h"
#include "converters/aten/rows.h"

namespace tuyere {

TensorId as_index(Convert& c, TensorId index) {
  DType type = c.type(index).dtype;
  USER_CHECK(is_int(type), "an index of dtype " << name(type) << (type == DType::Bool ? ": the size of the result depends on the data" : ""));
  return type == DType::I32 || type == DType::I64 ? index : c.cast(index, DType::I64);
}

Indices read_indices(Convert& c) {
  Indices out;
  int64_t axis = 0;
  for (const Arg& item : c.list("indices")) {
    if (!item.is_none()) {
      out.axes.push_back(axis);
      out.tensors.push_back(as_index(c, c.tensor_at(item, "indices")));
    }
    ++axis;
  }
  USER_CHECK(!out.axes.empty(), "indexing without an index");
  return out;
}

std::vector<int64_t> Indices::to_front(int64_t rank) const {
  if (axes.back() - axes.front() + 1 == static_cast<int64_t>(axes.size())) return {};
  std::vector<int64_t> perm = axes;
  for (int64_t k = 0; k < rank; ++k) {
    if (std::find(axes.begin(), axes.end(), k) == axes.end()) perm.push_back(k);
  }
  return perm;
}

TensorId along(Convert& c, int64_t start, const Dim& count) { return c.add(Iota{.type = DType::I64, .count = count, .start = start}, {}); }

namespace {

void index(Convert& c) {
  TensorId x = c.tensor("self");
  Indices indices = read_indices(c);
  if (indices.axes.size() == 1) return c.out(c.add(Gather{indices.axes[0]}, {x, indices.tensors[0]}));
  std::vector<int64_t> perm = indices.to_front(rank_of(c, x));
  if (!perm.empty()) {
    x = c.permute(x, perm);
    for (size_t k = 0; k < indices.axes.size(); ++k) indices.axes[k] = static_cast<int64_t>(k);
  }
  std::vector<TensorId> inputs{x};
  inputs.insert(inputs.end(), indices.tensors.begin(), indices.tensors.end());
  c.out(c.add(Index{indices.axes}, inputs));
}

void index_select(Convert& c) {
  TensorId x = c.tensor("self");
  if (rank_of(c, x) == 0) return c.out(x);
  c.out(c.reshape(c.add(Gather{c.axis("dim", x)}, {x, as_index(c, c.tensor("index"))}), c.out_type().shape));
}

void gather(Convert& c) {
  TensorId x = c.tensor("self"), index = as_index(c, c.tensor("index"));
  int64_t axis = c.axis("dim", x);
  auto vector = [&](TensorId v) { return rank_of(c, v) == 0 ? c.reshape(v, {1}) : v; };
  c.out(c.reshape(c.add(GatherElements{axis}, {vector(x), vector(index)}), c.out_type().shape));
}

/// Index and tensor broadcast except along dim; without dim both are flat.
void take_along_dim(Convert& c) {
  TensorId x = c.tensor("self"), index = as_index(c, c.tensor("indices"));
  if (!c.has("dim")) return c.out(c.add(Gather{0}, {c.reshape(x, {numel(c.type(x).shape)}), c.reshape(index, c.out_type().shape)}));
  int64_t axis = c.axis("dim", x);
  Shape wide = c.out_type().shape, index_shape = wide;
  wide[axis] = c.type(x).shape[axis];
  index_shape[axis] = c.type(index).shape[axis];
  c.out(c.add(GatherElements{axis}, {c.expand(x, wide), c.expand(index, index_shape)}));
}

void take(Convert& c) {
  TensorId x = c.tensor("self");
  c.out(c.add(Gather{0}, {c.reshape(x, {numel(c.type(x).shape)}), as_index(c, c.tensor("index"))}));
}

/// padding_idx only matters to the gradient.
void embedding(Convert& c) { c.out(c.add(Gather{0}, {c.tensor("weight"), as_index(c, c.tensor("indices"))})); }

/// The two dimensions go last, where a pair of counting indices reads the diagonal.
void diagonal(Convert& c) {
  TensorId x = c.tensor("self");
  const int64_t rank = rank_of(c, x), first = c.axis("dim1", x), second = c.axis("dim2", x), offset = c.integer("offset");
  USER_CHECK(first != second, "the diagonal of one dimension");
  std::vector<int64_t> perm;
  for (int64_t k = 0; k < rank; ++k) {
    if (k != first && k != second) perm.push_back(k);
  }
  perm.insert(perm.end(), {first, second});
  const Dim& length = c.out_type().shape.back();
  TensorId rows = along(c, offset < 0 ? -offset : 0, length), columns = along(c, offset > 0 ? offset : 0, length);
  c.out(c.add(Index{{rank - 2, rank - 1}}, {c.permute(x, perm), rows, columns}));
}

/// Windows along a dimension, which becomes their number; a new last dimension counts inside of them. Those that lie one behind the other are a view.
void unfold(Convert& c) {
  TensorId x = c.tensor("self");
  const int64_t rank = rank_of(c, x), size = c.integer("size"), step = c.integer("step");
  if (rank == 0) return c.out(c.expand(x, c.out_type().shape));
  const int64_t axis = c.axis("dimension", x);
  const Dim& count = c.out_type().shape.at(axis);
  TensorId windows;
  if (step == size || count.is_const(1)) {
    Shape split = c.type(x).shape;
    split[axis] = count;
    split.insert(split.begin() + axis + 1, Dim(size));
    windows = c.reshape(c.slice(x, axis, 0, count * size), split);
  } else {
    TensorId starts = c.reshape(c.add(Iota{.type = DType::I64, .count = count, .step = step}, {}), {count, 1});
    windows = c.add(Gather{axis}, {x, c.pointwise(Fn::add, {starts, along(c, 0, size)}, DType::I64)});
  }
  std::vector<int64_t> perm;
  for (int64_t k = 0; k <= rank; ++k) {
    if (k != axis + 1) perm.push_back(k);
  }
  perm.push_back(axis + 1);
  c.out(c.permute(windows, perm));
}

}  // namespace

void add_index(ConverterTable& t) {
  add_each(t, {"aten::index.Tensor", "aten::_unsafe_index.Tensor"}, index);
  t.add("aten::index_select", index_select);
  t.add("aten::gather", gather);
  t.add("aten::take_along_dim", take_along_dim);
  t.add("aten::take", take);
  t.add("aten::embedding", embedding);
  add_each(t, {"aten::diagonal", "aten::diagonal_copy"}, diagonal);
  add_each(t, {"aten::unfold", "aten::unfold_copy"}, unfold);
}

}  // namespace tuyere
