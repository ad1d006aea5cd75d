// SPDX-License-Identifier: Apache-2.0
// Convolutions. A bias becomes an input of the epilogue, reshaped to [O,1,...].
#include <algorithm>

#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// epilogue(x, bias) = x + bias
Program bias_epilogue(DType type, DType bias) {
  Program p{.inputs = {compute_type(type), compute_type(bias)}};
  int other = p.inputs[0] == p.inputs[1] ? 1 : p.cast(1, p.inputs[0]);
  p.outputs = {static_cast<int16_t>(p.add(Fn::add, {0, other}))};
  return p;
}

/// Adds the convolution; an input without batch dimension gets one for the layer.
void emit(Convert& c, Conv op, TensorId x, TensorId w) {
  int64_t rank = rank_of(c, w);
  const TensorType type = c.out_type();
  USER_CHECK(is_float(type.dtype), "convolution of " << name(type.dtype));
  if (rank_of(c, x) == rank - 1) {
    Shape batched = c.type(x).shape;
    batched.insert(batched.begin(), 1);
    x = c.reshape(x, batched);
  }
  op.type = type.dtype;
  std::vector<TensorId> inputs{x, w};
  if (std::optional<TensorId> bias = c.maybe_tensor("bias")) {
    op.epilogue = bias_epilogue(type.dtype, c.type(*bias).dtype);
    inputs.push_back(per_channel(c, *bias, rank));
  }
  c.out(c.reshape(c.add(op, inputs), type.shape));
}

Conv common(Convert& c, size_t spatial) {
  Conv op;
  op.stride = spread(c, "stride", spatial, 1);
  op.dilation = spread(c, "dilation", spatial, 1);
  op.groups = c.integer("groups");
  return op;
}

void convolution(Convert& c) {
  TensorId w = c.tensor("weight");
  size_t spatial = rank_of(c, w) - 2;
  Conv op = common(c, spatial);
  op.pad_before = op.pad_after = spread(c, "padding", spatial, 0);
  op.transposed = c.boolean("transposed");
  if (op.transposed) op.output_padding = spread(c, "output_padding", spatial, 0);
  emit(c, op, c.tensor("input"), w);
}

void conv_nd(Convert& c) {
  TensorId w = c.tensor("weight");
  size_t spatial = rank_of(c, w) - 2;
  Conv op = common(c, spatial);
  op.pad_before = op.pad_after = spread(c, "padding", spatial, 0);
  emit(c, op, c.tensor("input"), w);
}

/// padding="same" puts the odd element behind.
void conv_padding(Convert& c) {
  TensorId w = c.tensor("weight");
  size_t spatial = rank_of(c, w) - 2;
  Conv op = common(c, spatial);
  std::string padding = c.text("padding");
  USER_CHECK(padding == "same" || padding == "valid", "padding '" << padding << "'");
  op.pad_before.assign(spatial, 0);
  op.pad_after.assign(spatial, 0);
  for (size_t k = 0; padding == "same" && k < spatial; ++k) {
    const Dim kernel = c.type(w).shape[2 + k];
    USER_CHECK(kernel.is_const(), "padding 'same' with a kernel of symbolic size");
    int64_t total = op.dilation[k] * (kernel.value() - 1);
    op.pad_before[k] = total / 2;
    op.pad_after[k] = total - total / 2;
  }
  emit(c, op, c.tensor("input"), w);
}

void conv_transpose(Convert& c) {
  TensorId w = c.tensor("weight");
  size_t spatial = rank_of(c, w) - 2;
  Conv op = common(c, spatial);
  op.pad_before = op.pad_after = spread(c, "padding", spatial, 0);
  op.transposed = true;
  op.output_padding = spread(c, "output_padding", spatial, 0);
  emit(c, op, c.tensor("input"), w);
}

/// Of y = conv(x, w): a transposed convolution of dy. What no window reached is left by output_padding, which is less than the stride; where it is not known,
/// the most of it is, and cut off.
void data_gradient(Convert& c, Conv op, TensorId dy, TensorId w, const std::vector<int64_t>& padding) {
  const TensorType out = c.out_type(0);
  op.pad_before = op.pad_after = padding;
  op.output_padding.clear();
  op.transposed = !op.transposed;
  std::vector<size_t> cut;
  for (size_t k = 0; op.transposed && k < padding.size(); ++k) {
    const Dim reach = (c.type(dy).shape[2 + k] - 1) * op.stride[k] - 2 * padding[k] + Dim(op.dilation[k]) * (c.type(w).shape[2 + k] - 1) + 1;
    const Dim rest = out.shape[2 + k] - reach;
    USER_CHECK(!rest.is_const() || rest.value() >= 0, "spatial dimension " << k << " of its gradient is " << out.shape[2 + k] << ", not " << reach);
    op.output_padding.push_back(rest.is_const() ? rest.value() : op.stride[k] - 1);
    if (!rest.is_const()) cut.push_back(2 + k);
  }
  op.type = out.dtype;
  TensorId dx = add_native(c, op, {dy, w})[0];
  for (size_t axis : cut) dx = c.slice(dx, static_cast<int64_t>(axis), 0, out.shape[axis]);
  c.out(dx, 0);
}

/// Whether every pixel of the image is multiplied by its channel's one weight, and nothing else.
bool scales_channels(const Convert& c, const Conv& op, TensorId x, const std::vector<int64_t>& padding) {
  const auto all = [](const std::vector<int64_t>& sizes, int64_t value) {
    return std::all_of(sizes.begin(), sizes.end(), [&](int64_t s) { return s == value; });
  };
  const Shape w = c.out_type(1).shape;
  const bool depthwise = w[0].is_const(op.groups) && c.type(x).shape[1].is_const(op.groups);
  return depthwise && std::all_of(w.begin() + 1, w.end(), [](const Dim& size) { return size.is_const(1); }) && all(op.stride, 1) && all(padding, 0);
}

/// The sums of x dy: a library would add all pixels up in one chain.
void scale_gradient(Convert& c, TensorId dy, TensorId x) {
  const TensorType type = c.out_type(1);
  Reduce sum{.type = type.dtype};
  for (int64_t axis = 0; axis < rank_of(c, x); ++axis)
    if (axis != 1) sum.axes.push_back(axis);
  Pw p(c, compute_type(type.dtype));
  c.out(c.reshape(c.add(sum, {p.finish(p(Fn::mul, {p.in(dy), p.in(x)}), p.type())}), type.shape), 1);
}

void weight_gradient(Convert& c, const Conv& op, TensorId dy, TensorId x, const std::vector<int64_t>& padding) {
  if (scales_channels(c, op, x, padding)) return scale_gradient(c, dy, x);
  ConvWeightGradient gradient{.stride = op.stride, .pad_before = padding, .pad_after = padding, .dilation = op.dilation, .groups = op.groups};
  gradient.type = c.out_type(1).dtype;
  for (size_t k = 0; k < padding.size(); ++k) {
    const Dim& size = c.out_type(1).shape[2 + k];
    USER_CHECK(size.is_const(), "the weight has a symbolic size");
    gradient.kernel.push_back(size.value());
  }
  c.out(add_native(c, gradient, op.transposed ? std::vector<TensorId>{x, dy} : std::vector<TensorId>{dy, x})[0], 1);
}

void convolution_backward(Convert& c) {
  const TensorId dy = c.tensor("grad_output"), x = c.tensor("input"), w = c.tensor("weight");
  const int64_t rank = rank_of(c, w);
  USER_CHECK(rank_of(c, x) == rank && rank >= 3, "images without a batch dimension");
  Conv op = common(c, static_cast<size_t>(rank - 2));
  op.transposed = c.boolean("transposed");
  const std::vector<int64_t> padding = spread(c, "padding", static_cast<size_t>(rank - 2), 0);
  if (c.used(0)) data_gradient(c, op, dy, w, padding);
  if (c.used(1)) weight_gradient(c, op, dy, x, padding);
  if (!c.used(2)) return;
  Reduce sum{.type = c.out_type(2).dtype};
  for (int64_t axis = 0; axis < rank; ++axis)
    if (axis != 1) sum.axes.push_back(axis);
  c.out(c.add(sum, {dy}), 2);
}

}  // namespace

void add_conv(ConverterTable& t) {
  add_each(t, {"aten::convolution", "aten::_convolution"}, convolution);
  t.add("aten::convolution_backward", convolution_backward);
  add_each(t, {"aten::conv1d", "aten::conv2d", "aten::conv3d"}, conv_nd);
  add_each(t, {"aten::conv1d.padding", "aten::conv2d.padding", "aten::conv3d.padding"}, conv_padding);
  add_each(t, {"aten::conv_transpose1d", "aten::conv_transpose2d.input", "aten::conv_transpose3d.input"}, conv_transpose);
}

}  // namespace tuyere
