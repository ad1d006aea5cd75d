// SPDX-License-Identifier: Apache-2.0
// cat, stack, padding, flip and roll.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// PyTorch still lets an empty vector stand in a cat of tensors of any rank.
bool is_legacy_empty(const Convert& c, TensorId x) { return rank_of(c, x) == 1 && c.type(x).shape[0].is_const(0); }

void cat(Convert& c) {
  std::vector<TensorId> parts;
  for (TensorId x : c.tensors("tensors")) {
    if (!is_legacy_empty(c, x)) parts.push_back(c.cast(x, c.out_type().dtype));
  }
  if (parts.empty()) return c.out(filled(c, 0));
  int64_t axis = c.has("dim") ? c.axis("dim", parts[0]) : 0;
  c.out(parts.size() == 1 ? parts[0] : c.add(Concat{axis}, parts));
}

void stack(Convert& c) {
  const TensorType type = c.out_type();
  int64_t axis = c.has("dim") ? c.integer("dim") : 0;
  if (axis < 0) axis += static_cast<int64_t>(type.shape.size());
  Shape one = type.shape;
  one.at(axis) = 1;
  std::vector<TensorId> parts;
  for (TensorId x : c.tensors("tensors")) parts.push_back(c.reshape(c.cast(x, type.dtype), one));
  c.out(parts.size() == 1 ? parts[0] : c.add(Concat{axis}, parts));
}

/// PyTorch lists (before, after) pairs from the last dimension on.
void pad(Convert& c, std::string_view list, PadMode mode, double value) {
  TensorId x = c.tensor("self");
  std::vector<int64_t> sizes = c.integers(list);
  const size_t rank = rank_of(c, x);
  USER_CHECK(sizes.size() % 2 == 0 && sizes.size() <= 2 * rank, "padding of " << sizes.size() << " numbers for rank " << rank);
  Pad op{.before = std::vector<int64_t>(rank, 0), .after = std::vector<int64_t>(rank, 0), .mode = mode, .value = value};
  for (size_t k = 0; k < sizes.size() / 2; ++k) {
    op.before[rank - 1 - k] = sizes[2 * k];
    op.after[rank - 1 - k] = sizes[2 * k + 1];
  }
  bool nothing = std::all_of(sizes.begin(), sizes.end(), [](int64_t v) { return v == 0; });
  c.out(nothing ? x : c.add(op, {x}));
}

void pad_by_name(Convert& c) {
  std::string mode = c.text("mode");
  double value = c.has("value") ? c.number("value") : 0;
  if (mode == "constant") return pad(c, "pad", PadMode::constant, value);
  USER_CHECK(mode == "reflect" || mode == "replicate" || mode == "circular", "padding mode '" << mode << "'");
  pad(c, "pad", mode == "reflect" ? PadMode::reflect : mode == "replicate" ? PadMode::replicate : PadMode::circular, 0);
}

void flip(Convert& c) {
  TensorId x = c.tensor("self");
  if (c.list("dims").empty() || rank_of(c, x) == 0) return c.out(x);
  c.out(c.add(Flip{c.axes("dims", x)}, {x}));
}

/// x rotated by `shift` along axis: its last elements go to the front.
TensorId rolled(Convert& c, TensorId x, int64_t axis, const Dim& shift) {
  const Dim size = c.type(x).shape[axis];
  if (size.is_const(0)) return x;
  Dim cut = size - mod(shift, size);
  if (cut == size) return x;
  return c.add(Concat{axis}, {c.slice(x, axis, cut, size), c.slice(x, axis, 0, cut)});
}

void roll(Convert& c) {
  TensorId x = c.tensor("self");
  Shape shifts = c.dims("shifts");
  std::vector<int64_t> dims = c.integers("dims");
  if (dims.empty()) {
    USER_CHECK(shifts.size() == 1, "roll of the flattened tensor by " << shifts.size() << " shifts");
    TensorId flat = c.reshape(x, {numel(c.type(x).shape)});
    return c.out(c.reshape(rolled(c, flat, 0, shifts[0]), c.out_type().shape));
  }
  USER_CHECK(dims.size() == shifts.size(), "roll with " << shifts.size() << " shifts for " << dims.size() << " dimensions");
  for (size_t k = 0; k < dims.size(); ++k) x = rolled(c, x, dims[k] < 0 ? dims[k] + rank_of(c, x) : dims[k], shifts[k]);
  c.out(x);
}

}  // namespace

void add_join(ConverterTable& t) {
  add_each(t, {"aten::cat", "aten::concat", "aten::concatenate"}, cat);
  t.add("aten::stack", stack);
  t.add("aten::flip", flip);
  t.add("aten::roll", roll);
}

void add_pad(ConverterTable& t) {
  t.add("aten::constant_pad_nd", [](Convert& c) { pad(c, "pad", PadMode::constant, c.has("value") ? c.number("value") : 0); });
  t.add("aten::pad", pad_by_name);
  add_each(t, {"aten::reflection_pad1d", "aten::reflection_pad2d", "aten::reflection_pad3d"}, [](Convert& c) { pad(c, "padding", PadMode::reflect, 0); });
  add_each(t, {"aten::replication_pad1d", "aten::replication_pad2d", "aten::replication_pad3d"}, [](Convert& c) { pad(c, "padding", PadMode::replicate, 0); });
  t.add("aten::_pad_circular", [](Convert& c) { pad(c, "pad", PadMode::circular, 0); });
}

}  // namespace tuyere
