// SPDX-License-Identifier: Apache-2.0
// Ops that only change the view. Shapes come from the capture, which has resolved -1 and symbolic sizes.
#include <algorithm>
#include <numeric>

#include "common/error.h"
#include "converters/aten/rows.h"
#include "converters/strides.h"

namespace tuyere {
namespace {

void reshape(Convert& c) { c.out(c.reshape(c.tensor("self"), c.out_type().shape)); }

std::vector<int64_t> identity(int64_t rank) {
  std::vector<int64_t> perm(rank);
  std::iota(perm.begin(), perm.end(), 0);
  return perm;
}

void permute(Convert& c) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> perm = c.integers("dims");
  USER_CHECK(static_cast<int64_t>(perm.size()) == rank_of(c, x), "permutes " << perm.size() << " of " << rank_of(c, x) << " dimensions");
  for (int64_t& axis : perm) axis += axis < 0 ? rank_of(c, x) : 0;
  c.out(c.permute(x, perm));
}

void swap(Convert& c, std::string_view first, std::string_view second) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> perm = identity(rank_of(c, x));
  if (!perm.empty()) std::swap(perm[c.axis(first, x)], perm[c.axis(second, x)]);
  c.out(c.permute(x, perm));
}

/// t() and .mT, .T: reverses the last two dimensions of a matrix (t leaves vectors alone).
void transpose_last(Convert& c) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> perm = identity(rank_of(c, x));
  if (perm.size() >= 2) std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  c.out(c.permute(x, perm));
}

void reverse_all(Convert& c) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> perm = identity(rank_of(c, x));
  std::reverse(perm.begin(), perm.end());
  c.out(c.permute(x, perm));
}

/// The order of the dimensions after those in `source` went to `destination` and the others filled the gaps.
void movedim(Convert& c) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> from = c.integers("source"), to = c.integers("destination");
  const int64_t rank = rank_of(c, x);
  USER_CHECK(from.size() == to.size(), "source and destination differ in length");
  std::vector<int64_t> perm(rank, -1);
  std::vector<bool> taken(rank, false);
  for (size_t k = 0; k < from.size(); ++k) {
    int64_t source = from[k] < 0 ? from[k] + rank : from[k], target = to[k] < 0 ? to[k] + rank : to[k];
    USER_CHECK(source >= 0 && source < rank && target >= 0 && target < rank, "movedim out of range");
    perm[target] = source;
    taken[source] = true;
  }
  int64_t next = 0;
  for (int64_t& axis : perm) {
    if (axis >= 0) continue;
    while (taken[next]) ++next;
    axis = next++;
  }
  c.out(c.permute(x, perm));
}

void expand(Convert& c) { c.out(c.expand(c.tensor("self"), c.out_type().shape)); }

/// Repetition k times of dimension d: [.., d, ..] -> [.., 1, d, ..] -> [.., k, d, ..] -> [.., k*d, ..].
void repeat(Convert& c) {
  TensorId x = c.tensor("self");
  Shape times = c.dims(c.has("repeats") ? "repeats" : "dims"), shape = c.type(x).shape, split, wide;
  if (times.size() < shape.size()) times.insert(times.begin(), shape.size() - times.size(), Dim(1));
  shape.insert(shape.begin(), times.size() - shape.size(), Dim(1));
  for (size_t k = 0; k < shape.size(); ++k) {
    split.insert(split.end(), {Dim(1), shape[k]});
    wide.insert(wide.end(), {times[k], shape[k]});
  }
  c.out(c.reshape(c.expand(c.reshape(x, split), wide), c.out_type().shape));
}

/// Every element of a dimension k times in a row.
void repeat_interleave(Convert& c) {
  TensorId x = c.tensor("self");
  Dim times = c.dim("repeats");
  if (!c.has("dim")) x = c.reshape(x, {numel(c.type(x).shape)});
  const int64_t axis = c.has("dim") ? c.axis("dim", x) : 0;
  Shape split = c.type(x).shape;
  split.insert(split.begin() + axis + 1, Dim(1));
  Shape wide = split;
  wide[axis + 1] = times;
  c.out(c.reshape(c.expand(c.reshape(x, split), wide), c.out_type().shape));
}

/// A dense view of all of a dense tensor: memory order, new sizes, order of the new dimensions.
void as_strided(Convert& c) {
  TensorId x = c.tensor("self");
  const SourceValue& source = c.graph.values[std::get<Arg::Value>(c.list("self").at(0).v).id];
  const Shape sizes = c.type(x).shape, out_sizes = c.dims("size"), out_strides = c.dims("stride");
  USER_CHECK(!c.has("storage_offset") || c.integer("storage_offset") == 0, "as_strided with an offset");
  USER_CHECK(out_sizes.size() == out_strides.size(), "as_strided with " << out_sizes.size() << " sizes and " << out_strides.size() << " strides");
  auto order = memory_order(sizes, source.strides.empty() ? contiguous_strides(sizes) : source.strides, {}),
       out_order = memory_order(out_sizes, out_strides, {});
  USER_CHECK(order && out_order && numel(sizes) == numel(out_sizes), "as_strided that overlaps, skips or changes the number of elements");
  Shape in_memory;
  std::vector<int64_t> back(out_order->size());
  for (size_t k = 0; k < out_order->size(); ++k) {
    in_memory.push_back(out_sizes[(*out_order)[k]]);
    back[(*out_order)[k]] = static_cast<int64_t>(k);
  }
  c.out(c.permute(c.reshape(c.permute(x, {order->begin(), order->end()}), in_memory), back));
}

/// view(dtype): the same bits, which only equal types can mean here.
void view_dtype(Convert& c) {
  TensorId x = c.tensor("self");
  USER_CHECK(c.out_type().dtype == c.type(x).dtype, "view of " << name(c.type(x).dtype) << " as the bits of " << name(c.out_type().dtype));
  c.out(x);
}

}  // namespace

void add_views(ConverterTable& t) {
  add_each(t,
           {"aten::view",          "aten::_unsafe_view",     "aten::reshape",           "aten::view_copy", "aten::_reshape_alias", "aten::flatten.using_ints",
            "aten::unflatten.int", "aten::view_as",          "aten::reshape_as",        "aten::squeeze",   "aten::squeeze.dim",    "aten::squeeze.dims",
            "aten::squeeze_copy",  "aten::squeeze_copy.dim", "aten::squeeze_copy.dims", "aten::unsqueeze", "aten::unsqueeze_copy", "aten::ravel",
            "aten::atleast_1d",    "aten::atleast_2d"},
           reshape);
  add_each(t, {"aten::permute", "aten::permute_copy"}, permute);
  add_each(t, {"aten::transpose.int", "aten::transpose_copy.int"}, [](Convert& c) { swap(c, "dim0", "dim1"); });
  t.add("aten::swapaxes", [](Convert& c) { swap(c, "axis0", "axis1"); });
  t.add("aten::swapdims", [](Convert& c) { swap(c, "dim0", "dim1"); });
  add_each(t, {"aten::t", "aten::t_copy", "aten::mT", "aten::adjoint"}, transpose_last);
  t.add("aten::numpy_T", reverse_all);
  add_each(t, {"aten::movedim.int", "aten::movedim.intlist", "aten::moveaxis.int", "aten::moveaxis.intlist"}, movedim);
  add_each(t, {"aten::expand", "aten::expand_copy", "aten::expand_as", "aten::broadcast_to"}, expand);
  add_each(t, {"aten::repeat", "aten::tile"}, repeat);
  t.add("aten::repeat_interleave.self_int", repeat_interleave);
  add_each(t, {"aten::as_strided", "aten::as_strided_copy"}, as_strided);
  t.add("aten::view.dtype", view_dtype);
}

}  // namespace tuyere
