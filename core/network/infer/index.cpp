// SPDX-License-Identifier: Apache-2.0
// Gather, scatter and advanced indexing.
#include "common/error.h"
#include "core/network/infer/check.h"

namespace tuyere::inference {

Types infer_one(const Gather& op, Inputs in) {
  Check(in).inputs(2).index(1);
  const Shape &x = in[0].shape, &index = in[1].shape;
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  Shape out(x.begin(), x.begin() + axis);
  out.insert(out.end(), index.begin(), index.end());
  out.insert(out.end(), x.begin() + axis + 1, x.end());
  return {plain(in[0].dtype, std::move(out))};
}

namespace {

/// torch.gather and torch.scatter: outside `axis` the index may not reach over x.
void check_reach(const Shape& index, const Shape& x, int64_t axis) {
  for (size_t k = 0; k < x.size(); ++k)
    USER_CHECK(static_cast<int64_t>(k) == axis || !index[k].is_const() || may_be_at_least(x[k], index[k].value()),
               "index of shape " << str(index) << " is larger than the input of shape " << str(x) << " in dimension " << k);
}

/// Checks index tensors in[first..] on consecutive `axes` of x; returns the shape that x[..., idx...] has.
Shape indexed_shape(const Shape& x, const std::vector<int64_t>& given, Inputs in, size_t first) {
  Check(in).inputs(first + given.size());
  USER_CHECK(!given.empty(), "has no axes");
  const std::vector<int64_t> axes = checked_axes(given, static_cast<int>(x.size()));
  Shape index;
  for (size_t k = 0; k < axes.size(); ++k) {
    Check(in).index(first + k);
    USER_CHECK(axes[k] == axes[0] + static_cast<int64_t>(k), "axes must be consecutive, got " << axes[k] << " after " << axes[k - 1]);
    index = broadcast(index, in[first + k].shape);
  }
  Shape out(x.begin(), x.begin() + axes.front());
  out.insert(out.end(), index.begin(), index.end());
  out.insert(out.end(), x.begin() + axes.back() + 1, x.end());
  return out;
}

}  // namespace

Types infer_one(const GatherElements& op, Inputs in) {
  Check(in).inputs(2).index(1).same_rank(0, 1);
  check_reach(in[1].shape, in[0].shape, checked_axis(op.axis, rank_of(in[0])));
  return {plain(in[0].dtype, in[1].shape)};
}

Types infer_one(const ScatterElements& op, Inputs in) {
  Check(in).inputs(3).index(1).same_rank(0, 1);
  USER_CHECK(in[2].dtype == in[0].dtype, "source is " << name(in[2].dtype) << ", the input " << name(in[0].dtype));
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  check_reach(in[1].shape, in[0].shape, axis);
  if (!in[2].shape.empty()) {
    Check(in).same_rank(0, 2);
    check_reach(in[1].shape, in[2].shape, -1);
  }
  return {plain(in[0].dtype, in[0].shape)};
}

Types infer_one(const Index& op, Inputs in) {
  Check(in).inputs_at_least(1);
  return {plain(in[0].dtype, indexed_shape(in[0].shape, op.axes, in, 1))};
}

Types infer_one(const IndexPut& op, Inputs in) {
  Check(in).inputs_at_least(2).same_dtype(2);
  check_broadcasts_to(in[1].shape, indexed_shape(in[0].shape, op.axes, in, 2), "values");
  return {plain(in[0].dtype, in[0].shape)};
}

}  // namespace tuyere::inference
