// SPDX-License-Identifier: Apache-2.0
// Parts of a tensor: select, slice, split and their relatives. Sizes come from the recorded outputs.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// A slice_position counted from the end when negative, kept inside 0..size where the size is known.
Dim slice_position(Dim at, const Dim& size) {
  if (!at.is_const()) return at;
  if (at.value() < 0) at = size.is_const() ? Dim(std::max<int64_t>(at.value() + size.value(), 0)) : size + at;
  return size.is_const() && at.is_const() ? Dim(std::min(at.value(), size.value())) : at;
}

void select(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  Dim at = slice_position(c.dim("index"), c.type(x).shape.at(axis));
  c.out(c.reshape(c.slice(x, axis, at, at + 1), c.out_type().shape));
}

void slice(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x), step = c.has("step") ? c.integer("step") : 1;
  Dim start = slice_position(c.has("start") ? c.dim("start") : Dim(0), c.type(x).shape.at(axis));
  const Dim& count = c.out_type().shape.at(axis);
  Dim end = count.is_const(0) ? start : start + (count - 1) * step + 1;
  c.out(c.slice(x, axis, start, end, step));
}

void narrow(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  Dim start = slice_position(c.dim("start"), c.type(x).shape.at(axis));
  c.out(c.slice(x, axis, start, start + c.dim("length")));
}

/// Consecutive pieces, as long as the recorded outputs.
void split(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  Dim at = 0;
  for (int k = 0; k < static_cast<int>(c.node.outputs.size()); ++k) {
    Dim end = at + c.out_type(k).shape.at(axis);
    c.out(c.slice(x, axis, at, end), k);
    at = end;
  }
}

void unbind(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  for (int k = 0; k < static_cast<int>(c.node.outputs.size()); ++k) c.out(c.reshape(c.slice(x, axis, k, k + 1), c.out_type(k).shape), k);
}

/// Differences of neighbours along an axis, `n` times; booleans differ where they are unequal.
void diff(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  DType type = c.out_type().dtype;
  std::vector<TensorId> parts;
  if (c.has("prepend")) parts.push_back(c.tensor("prepend"));
  parts.push_back(x);
  if (c.has("append")) parts.push_back(c.tensor("append"));
  for (TensorId& part : parts) part = c.cast(part, type);
  x = parts.size() > 1 ? c.add(Concat{axis}, parts) : parts[0];
  for (int64_t k = 0; k < c.integer("n"); ++k) {
    Dim size = c.type(x).shape[axis];
    TensorId later = c.slice(x, axis, 1, size), earlier = c.slice(x, axis, 0, size - 1);
    x = c.pointwise(type == DType::Bool ? Fn::logical_xor : Fn::sub, {later, earlier}, type);
  }
  c.out(x);
}

}  // namespace

void add_slices(ConverterTable& t) {
  add_each(t, {"aten::select.int", "aten::select_copy.int"}, select);
  add_each(t, {"aten::slice.Tensor", "aten::slice_copy.Tensor"}, slice);
  add_each(t, {"aten::narrow", "aten::narrow_copy"}, narrow);
  add_each(t,
           {"aten::split.Tensor", "aten::split.sizes", "aten::split_with_sizes", "aten::split_copy.Tensor", "aten::split_with_sizes_copy", "aten::chunk",
            "aten::unsafe_chunk", "aten::unsafe_split.Tensor", "aten::unsafe_split_with_sizes", "aten::tensor_split.sections", "aten::tensor_split.indices"},
           split);
  add_each(t, {"aten::unbind.int", "aten::unbind_copy.int"}, unbind);
  t.add("aten::diff", diff);
}

}  // namespace tuyere
