// SPDX-License-Identifier: Apache-2.0
// Views, concatenation, padding, creation, host calls.
#include "common/error.h"
#include "core/network/infer/check.h"

namespace tuyere::inference {
namespace {

void check_sizes(const Shape& shape) {
  for (const Dim& d : shape) USER_CHECK(may_be_at_least(d, 0), "size " << d << " in " << str(shape) << " is negative");
}

}  // namespace

Types infer_one(const Reshape& op, Inputs in) {
  Check(in).inputs(1);
  check_sizes(op.shape);
  USER_CHECK(may_equal(numel(in[0].shape), numel(op.shape)),
             "cannot reshape " << str(in[0].shape) << " to " << str(op.shape) << ": " << numel(in[0].shape) << " elements are not " << numel(op.shape));
  return {plain(in[0].dtype, op.shape)};
}

Types infer_one(const Permute& op, Inputs in) {
  Check(in).inputs(1).rank(static_cast<int>(op.perm.size()));
  const Shape& x = in[0].shape;
  std::vector<bool> seen(x.size(), false);
  Shape out;
  for (int64_t axis : op.perm) {
    USER_CHECK(axis >= 0 && axis < rank_of(in[0]), "axis " << axis << " out of range for rank " << x.size());
    USER_CHECK(!seen[axis], "axis " << axis << " appears twice");
    seen[axis] = true;
    out.push_back(x[axis]);
  }
  return {plain(in[0].dtype, std::move(out))};
}

Types infer_one(const Expand& op, Inputs in) {
  Check(in).inputs(1);
  check_sizes(op.shape);
  check_broadcasts_to(in[0].shape, op.shape, "the input");
  return {plain(in[0].dtype, op.shape)};
}

Types infer_one(const Slice& op, Inputs in) {
  Check(in).inputs(1);
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  const Dim& size = in[0].shape[axis];
  USER_CHECK(op.step >= 1, "step must be positive, got " << op.step);
  USER_CHECK(may_be_at_least(op.start, 0) && may_be_at_least(op.end - op.start, 0) && may_be_at_least(size - op.end, 0),
             "range " << op.start << ":" << op.end << " does not lie in axis " << axis << " of size " << size);
  Shape out = in[0].shape;
  out[axis] = ceildiv(op.end - op.start, op.step);
  return {plain(in[0].dtype, std::move(out))};
}

Types infer_one(const Concat& op, Inputs in) {
  Check(in).inputs_at_least(1).same_dtype();
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  Shape out = in[0].shape;
  for (size_t k = 1; k < in.size(); ++k) {
    Check(in).same_rank(0, k);
    const Shape& x = in[k].shape;
    for (int64_t d = 0; d < rank_of(in[0]); ++d)
      USER_CHECK(d == axis || may_equal(x[d], out[d]),
                 "input " << k << " of shape " << str(x) << " differs from input 0 of shape " << str(in[0].shape) << " in dimension " << d);
    out[axis] += x[axis];
  }
  return {plain(in[0].dtype, std::move(out))};
}

namespace {

void check_mode(const Pad& op, size_t k, const Dim& size) {
  if (op.mode == PadMode::constant) return;
  const int64_t most = std::max(op.before[k], op.after[k]);
  if (op.mode == PadMode::reflect)
    USER_CHECK(most <= 0 || may_be_at_least(size, most + 1),
               "reflection padding " << most << " needs dimension " << k << " of size " << size << " to be larger");
  if (op.mode == PadMode::circular)
    USER_CHECK(most <= 0 || may_be_at_least(size, most), "circular padding " << most << " is larger than dimension " << k << " of size " << size);
  if (op.mode == PadMode::replicate) USER_CHECK(most <= 0 || may_be_at_least(size, 1), "replication padding of the empty dimension " << k);
}

}  // namespace

Types infer_one(const Pad& op, Inputs in) {
  Check(in).inputs(1);
  Shape out = in[0].shape;
  USER_CHECK(op.before.size() == out.size() && op.after.size() == out.size(),
             "has " << op.before.size() << " sizes before and " << op.after.size() << " after for rank " << out.size());
  for (size_t k = 0; k < out.size(); ++k) {
    check_mode(op, k, out[k]);
    out[k] = out[k] + op.before[k] + op.after[k];
    USER_CHECK(may_be_at_least(out[k], 0), "dimension " << k << " of the output would have size " << out[k]);
  }
  return {plain(in[0].dtype, std::move(out))};
}

Types infer_one(const Flip& op, Inputs in) {
  Check(in).inputs(1);
  checked_axes(op.axes, rank_of(in[0]));
  return {plain(in[0].dtype, in[0].shape)};
}

Types infer_one(const Iota& op, Inputs in) {
  Check(in).inputs(0);
  USER_CHECK(may_be_at_least(op.count, 0), "count must not be negative, got " << op.count);
  return {plain(op.type, {op.count})};
}

Types infer_one(const Fill& op, Inputs in) {
  Check(in).inputs(0);
  check_sizes(op.shape);
  return {plain(op.type, op.shape)};
}

Types infer_one(const HostCall& op, Inputs) {
  USER_CHECK(!op.op.empty(), "names no operator");
  USER_CHECK(op.types.size() == op.shapes.size(), "has " << op.types.size() << " types and " << op.shapes.size() << " shapes");
  Types out;
  for (size_t k = 0; k < op.types.size(); ++k) {
    check_sizes(op.shapes[k]);
    out.push_back(plain(op.types[k], op.shapes[k]));
  }
  return out;
}

}  // namespace tuyere::inference
