// SPDX-License-Identifier: Apache-2.0
// Pooling, fixed and adaptive.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

Pool window(Convert& c, size_t spatial) {
  Pool op;
  op.kernel = spread(c, "kernel_size", spatial, 1);
  op.stride = c.list("stride").empty() ? op.kernel : spread(c, "stride", spatial, 1);
  op.pad = spread(c, "padding", spatial, 0);
  op.dilation.assign(spatial, 1);
  op.ceil_mode = c.boolean("ceil_mode");
  return op;
}

/// Pooling ops want batch and channels; PyTorch allows the batch to be missing.
template <class Body>
void batched(Convert& c, size_t spatial, Body body) {
  TensorId x = c.tensor(c.has("self") ? "self" : "input");
  if (rank_of(c, x) == static_cast<int64_t>(spatial) + 2) return body(x);
  USER_CHECK(rank_of(c, x) == static_cast<int64_t>(spatial) + 1, "pooling over " << spatial << " dimensions of a tensor of rank " << rank_of(c, x));
  Shape shape = c.type(x).shape;
  shape.insert(shape.begin(), 1);
  body(c.reshape(x, shape));
}

/// Gives all results of a max pooling.
void max_with_indices(Convert& c, Pool op, size_t spatial) {
  op.with_indices = c.used(1);
  batched(c, spatial, [&](TensorId x) {
    std::vector<TensorId> y = c.add_n(op, {x});
    for (size_t k = 0; k < y.size(); ++k) c.out(c.reshape(y[k], c.out_type(static_cast<int>(k)).shape), static_cast<int>(k));
  });
}

template <int spatial>
void max_pool(Convert& c) {
  Pool op = window(c, spatial);
  op.dilation = spread(c, "dilation", spatial, 1);
  max_with_indices(c, std::move(op), spatial);
}

template <int spatial>
void avg_pool(Convert& c) {
  Pool op = window(c, spatial);
  op.kind = PoolKind::avg;
  op.count_include_pad = c.boolean("count_include_pad");
  op.divisor = c.has("divisor_override") ? c.integer("divisor_override") : 0;
  batched(c, spatial, [&](TensorId x) { c.out(c.reshape(c.add(op, {x}), c.out_type().shape)); });
}

/// One output element per channel is a mean over the spatial dimensions, which needs no static size.
void adaptive(Convert& c, PoolKind kind, size_t spatial) {
  AdaptivePool op{.kind = kind};
  const Shape& out = c.out_type().shape;
  const bool global = std::all_of(out.end() - spatial, out.end(), [](const Dim& d) { return d.is_const(1); });
  batched(c, spatial, [&](TensorId x) {
    const int64_t rank = rank_of(c, x);
    if (global && kind == PoolKind::avg) {
      std::vector<int64_t> axes;
      for (int64_t k = rank - static_cast<int64_t>(spatial); k < rank; ++k) axes.push_back(k);
      return c.out(c.reshape(c.add(Reduce{.kind = ReduceKind::mean, .axes = axes, .keepdim = true, .type = c.out_type().dtype}, {x}), out));
    }
    for (auto d = out.end() - spatial; d != out.end(); ++d) {
      USER_CHECK(d->is_const(), "adaptive pooling to the symbolic size " << *d);
      op.out.push_back(d->value());
    }
    c.out(c.reshape(c.add(op, {x}), out));
  });
}

/// Adaptive pooling whose windows do not overlap, as a pooling with fixed ones, which knows where its values came from.
void adaptive_max_with_indices(Convert& c, size_t spatial) {
  const Shape &in = c.type(c.tensor("self")).shape, &out = c.out_type().shape;
  Pool op;
  for (size_t d = spatial; d > 0; --d) {
    const Dim &size = in[in.size() - d], &count = out[out.size() - d];
    USER_CHECK(size.is_const() && count.is_const() && count.value() > 0 && size.value() % count.value() == 0,
               "the indices of adaptive max pooling are used, and " << size << " pixels are not a known multiple of " << count << " windows");
    op.kernel.push_back(size.value() / count.value());
  }
  op.stride = op.kernel;
  op.pad.assign(spatial, 0);
  op.dilation.assign(spatial, 1);
  max_with_indices(c, op, spatial);
}

template <PoolKind kind, int spatial>
void adaptive_pool(Convert& c) {
  if (kind == PoolKind::max && c.used(1)) return adaptive_max_with_indices(c, spatial);
  adaptive(c, kind, spatial);
}

/// Adds the gradient of images with or without a batch dimension.
void pool_gradient(Convert& c, PoolGradient op, size_t spatial) {
  const Shape dx = c.out_type().shape;
  op.size.assign(dx.end() - static_cast<std::ptrdiff_t>(spatial), dx.end());
  std::vector<TensorId> inputs{c.tensor("grad_output")};
  if (op.kind == PoolKind::max) inputs.push_back(c.tensor("indices"));
  if (dx.size() == spatial + 1)
    for (TensorId& input : inputs) {
      Shape shape = c.type(input).shape;
      shape.insert(shape.begin(), 1);
      input = c.reshape(input, shape);
    }
  c.out(c.reshape(add_native(c, op, inputs)[0], dx));
}

template <int spatial>
void max_pool_backward(Convert& c) {
  const Pool pool = window(c, spatial);
  const std::vector<int64_t> dilation = spread(c, "dilation", spatial, 1);
  PoolGradient op{.kind = PoolKind::max, .kernel = pool.kernel, .stride = pool.stride, .pad = pool.pad};
  for (size_t d = 0; d < spatial; ++d) op.kernel[d] = (op.kernel[d] - 1) * dilation[d] + 1;
  pool_gradient(c, op, spatial);
}

template <int spatial>
void adaptive_max_pool_backward(Convert& c) {
  pool_gradient(c, {.kind = PoolKind::max}, spatial);
}

template <int spatial>
void adaptive_avg_pool_backward(Convert& c) {
  pool_gradient(c, {}, spatial);
}

template <int spatial>
void avg_pool_backward(Convert& c) {
  const Pool pool = window(c, spatial);
  PoolGradient op{.kernel = pool.kernel, .stride = pool.stride, .pad = pool.pad, .count_include_pad = c.boolean("count_include_pad")};
  op.divisor = c.has("divisor_override") ? c.integer("divisor_override") : 0;
  pool_gradient(c, op, spatial);
}

}  // namespace

void add_pool(ConverterTable& t) {
  add_each(t, {"aten::max_pool1d", "aten::max_pool1d_with_indices"}, max_pool<1>);
  add_each(t, {"aten::max_pool2d", "aten::max_pool2d_with_indices"}, max_pool<2>);
  add_each(t, {"aten::max_pool3d", "aten::max_pool3d_with_indices"}, max_pool<3>);
  t.add("aten::avg_pool1d", avg_pool<1>);
  t.add("aten::avg_pool2d", avg_pool<2>);
  t.add("aten::avg_pool3d", avg_pool<3>);
  t.add("aten::adaptive_avg_pool1d", adaptive_pool<PoolKind::avg, 1>);
  add_each(t, {"aten::adaptive_avg_pool2d", "aten::_adaptive_avg_pool2d"}, adaptive_pool<PoolKind::avg, 2>);
  add_each(t, {"aten::adaptive_avg_pool3d", "aten::_adaptive_avg_pool3d"}, adaptive_pool<PoolKind::avg, 3>);
  t.add("aten::max_pool2d_with_indices_backward", max_pool_backward<2>);
  t.add("aten::max_pool3d_with_indices_backward", max_pool_backward<3>);
  t.add("aten::adaptive_max_pool2d_backward", adaptive_max_pool_backward<2>);
  t.add("aten::adaptive_max_pool3d_backward", adaptive_max_pool_backward<3>);
  t.add("aten::avg_pool2d_backward", avg_pool_backward<2>);
  t.add("aten::avg_pool3d_backward", avg_pool_backward<3>);
  t.add("aten::_adaptive_avg_pool2d_backward", adaptive_avg_pool_backward<2>);
  t.add("aten::_adaptive_avg_pool3d_backward", adaptive_avg_pool_backward<3>);
  t.add("aten::adaptive_max_pool1d", adaptive_pool<PoolKind::max, 1>);
  t.add("aten::adaptive_max_pool2d", adaptive_pool<PoolKind::max, 2>);
  t.add("aten::adaptive_max_pool3d", adaptive_pool<PoolKind::max, 3>);
}

}  // namespace tuyere
