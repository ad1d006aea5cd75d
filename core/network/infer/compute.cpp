// SPDX-License-Identifier: Apache-2.0
// Pointwise programs, reductions along axes, normalization, order statistics.
#include <algorithm>

#include "common/error.h"
#include "core/network/infer/check.h"

namespace tuyere::inference {
namespace {

Shape reduced(const Shape& shape, const std::vector<int64_t>& axes, bool keepdim) {
  std::vector<bool> gone(shape.size(), false);
  for (int64_t axis : axes) gone[axis] = true;
  Shape out;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!gone[k])
      out.push_back(shape[k]);
    else if (keepdim)
      out.push_back(1);
  }
  return out;
}

}  // namespace

Types infer_one(const Pointwise& op, Inputs in) {
  Check(in).inputs_at_least(1);
  if (op.program.empty()) {
    Check(in).inputs(1);
    USER_CHECK(op.types.size() <= 1, "has " << op.types.size() << " output types for an identity");
    return {plain(op.types.empty() ? in[0].dtype : op.types[0], in[0].shape)};
  }
  check_program(op.program, "program", 0, in);
  USER_CHECK(op.types.size() == op.program.outputs.size(), "has " << op.types.size() << " output types for " << op.program.outputs.size() << " outputs");
  Shape shape = in[0].shape;
  for (const TensorType& type : in.subspan(1)) shape = broadcast(shape, type.shape);
  Types out;
  for (DType type : op.types) out.push_back(plain(type, shape));
  return out;
}

Types infer_one(const Reduce& op, Inputs in) {
  const size_t own = prologue_inputs(op.prologue);
  Check(in).inputs(own + epilogue_inputs(op.epilogue));
  const Shape x = check_prologue(op.prologue, in);
  const std::vector<int64_t> axes = checked_axes(op.axes, static_cast<int>(x.size()));
  USER_CHECK((op.kind != ReduceKind::mean && op.kind != ReduceKind::var) || !op.epilogue.empty() || is_float(op.type),
             "a mean or variance needs a float type, got " << name(op.type));
  if (op.kind == ReduceKind::max || op.kind == ReduceKind::min)
    for (int64_t axis : axes) USER_CHECK(may_be_at_least(x[axis], 1), "axis " << axis << " is empty: max and min of nothing do not exist");
  Shape out = reduced(x, axes, op.keepdim);
  check_epilogue(op.epilogue, in.subspan(own), out);
  return {plain(op.type, std::move(out))};
}

Types infer_one(const ArgReduce& op, Inputs in) {
  Check(in).inputs(1);
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  USER_CHECK(may_be_at_least(in[0].shape[axis], 1), "axis " << axis << " is empty");
  return {plain(DType::I64, reduced(in[0].shape, {axis}, op.keepdim))};
}

Types infer_one(const Softmax& op, Inputs in) {
  Check(in).inputs(prologue_inputs(op.prologue));
  const Shape x = check_prologue(op.prologue, in);
  checked_axis(op.axis, static_cast<int>(x.size()));
  USER_CHECK(is_float(op.type), "needs a float type, got " << name(op.type));
  return {plain(op.type, x)};
}

namespace {

/// The shape that weight and bias must have.
Shape affine_shape(const Norm& op, const Shape& x) {
  const auto rank = static_cast<int64_t>(x.size());
  if (op.kind == NormKind::group) {
    USER_CHECK(rank >= 2, "the input has rank " << rank << ", needs at least 2");
    USER_CHECK(op.groups >= 1, "groups must be positive, got " << op.groups);
    USER_CHECK(!x[1].is_const() || x[1].value() % op.groups == 0, x[1] << " channels do not divide into " << op.groups << " groups");
    return {x[1]};
  }
  USER_CHECK(op.axes >= 1 && op.axes <= rank, "normalizes the last " << op.axes << " dimensions of rank " << rank);
  return Shape(x.end() - op.axes, x.end());
}

/// x with ones for its last `axes` dimensions.
Shape statistics_shape(Shape x, int64_t axes) {
  std::fill(x.end() - axes, x.end(), Dim(1));
  return x;
}

}  // namespace

Types infer_one(const Norm& op, Inputs in) {
  size_t next = prologue_inputs(op.prologue);
  Check(in).inputs(next + op.has_weight + op.has_bias + epilogue_inputs(op.epilogue));
  USER_CHECK(is_float(op.type), "needs a float type, got " << name(op.type));
  const Shape x = check_prologue(op.prologue, in, 1 + op.extra_types.size());
  USER_CHECK(!op.prologue.empty() || op.extra_types.empty(), "has types of further outputs but no prologue");
  const Shape affine = affine_shape(op, x);
  if (op.has_weight) check_same_shape(in[next++].shape, affine, "weight");
  if (op.has_bias) check_same_shape(in[next++].shape, affine, "bias");
  check_epilogue(op.epilogue, in.subspan(next), x);
  Types out{plain(op.type, x)};
  for (DType type : op.extra_types) out.push_back(plain(type, x));
  if (op.statistics) {
    USER_CHECK(op.kind == NormKind::layer, "only layer norms give their statistics");
    out.insert(out.end(), 2, plain(DType::F32, statistics_shape(x, op.axes)));
  }
  return out;
}

Types infer_one(const LayerNormGradient& op, Inputs in) {
  Check(in).inputs(4 + op.has_weight);
  const Shape& x = in[1].shape;
  const auto rank = static_cast<int64_t>(x.size());
  USER_CHECK(op.axes >= 1 && op.axes <= rank, "normalizes the last " << op.axes << " dimensions of rank " << rank);
  USER_CHECK(is_float(op.type) && is_float(op.parameter_type), "needs float types, got " << name(op.type) << " and " << name(op.parameter_type));
  check_same_shape(in[0].shape, x, "the gradient");
  for (size_t k = 2; k < 4; ++k) {
    USER_CHECK(in[k].dtype == DType::F32, "the statistics must be f32, got " << name(in[k].dtype));
    check_same_shape(in[k].shape, statistics_shape(x, op.axes), "a statistic");
  }
  const Shape affine(x.end() - op.axes, x.end());
  if (op.has_weight) check_same_shape(in[4].shape, affine, "weight");
  Types out{plain(op.type, x)};
  if (op.parameters) out.insert(out.end(), 2, plain(op.parameter_type, affine));
  return out;
}

Types infer_one(const Recurrent& op, Inputs in) {
  const bool has_cells = op.kind == RecurrentKind::lstm;
  Check(in).inputs(has_cells ? 5 : 4).rank(3).rank(2, 1).rank(1, 2);
  USER_CHECK(op.directions == 1 || op.directions == 2, "runs in one direction or in two, not in " << op.directions);
  USER_CHECK(is_float(op.type), "needs a float type, got " << name(op.type));
  const Dim hidden = in[1].shape[1], rows = hidden * Dim(op.directions * gates_of(op.kind));
  for (const Dim& size : {in[0].shape[2], in[1].shape[0], in[2].shape[0]})
    USER_CHECK(may_equal(size, rows), "hidden states of size " << hidden << " need " << rows << " gates, got " << size);
  const Shape state{Dim(op.directions), in[0].shape[op.batch_first ? 0 : 1], hidden};
  for (size_t k = 3; k < in.size(); ++k) check_same_shape(in[k].shape, state, k == 3 ? "the hidden state" : "the cell state");
  Types out{plain(op.type, {in[0].shape[0], in[0].shape[1], hidden * Dim(op.directions)})};
  out.insert(out.end(), has_cells ? 2 : 1, plain(op.type, state));
  return out;
}

Types infer_one(const Cumulate& op, Inputs in) {
  Check(in).inputs(1);
  checked_axis(op.axis, rank_of(in[0]));
  return {plain(op.type, in[0].shape)};
}

Types infer_one(const TopK& op, Inputs in) {
  Check(in).inputs(1);
  const int64_t axis = checked_axis(op.axis, rank_of(in[0]));
  Shape out = in[0].shape;
  USER_CHECK(may_be_at_least(op.k, 0), "k must not be negative, got " << op.k);
  USER_CHECK(!op.k.is_const() || may_be_at_least(out[axis], op.k.value()), "k " << op.k << " is larger than axis " << axis << " of size " << out[axis]);
  out[axis] = op.k;
  return {plain(in[0].dtype, out), plain(DType::I64, out)};
}

Types infer_one(const Sort& op, Inputs in) {
  Check(in).inputs(1);
  checked_axis(op.axis, rank_of(in[0]));
  return {plain(in[0].dtype, in[0].shape), plain(DType::I64, in[0].shape)};
}

}  // namespace tuyere::inference
