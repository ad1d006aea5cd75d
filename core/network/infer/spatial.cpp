// SPDX-License-Identifier: Apache-2.0
// Convolution, pooling, resizing: operators over trailing spatial dimensions. Empty per-dimension lists mean 1 (stride, dilation) or 0 (padding).
#include "common/error.h"
#include "core/network/infer/check.h"
#include "kernels/api/conv_blocks.h"

namespace tuyere::inference {
namespace {

int64_t entry(const std::vector<int64_t>& list, size_t k, int64_t neutral) { return list.empty() ? neutral : list[k]; }

void check_list(const std::vector<int64_t>& list, size_t size, int64_t least, const char* what) {
  USER_CHECK(list.empty() || list.size() == size, what << " has " << list.size() << " entries for " << size << " spatial dimensions");
  for (int64_t v : list) USER_CHECK(v >= least, what << " must be at least " << least << ", got " << v);
}

void check_size(const Dim& out, size_t k) { USER_CHECK(may_be_at_least(out, 0), "spatial dimension " << k << " of the output would have size " << out); }

Dim conv_size(const Conv& op, size_t k, const Dim& in, const Dim& kernel) {
  const int64_t stride = entry(op.stride, k, 1), dilation = entry(op.dilation, k, 1), pad = entry(op.pad_before, k, 0) + entry(op.pad_after, k, 0);
  const Dim reach = Dim(dilation) * (kernel - 1);
  if (op.transposed) return (in - 1) * stride - pad + reach + entry(op.output_padding, k, 0) + 1;
  const Dim room = in + pad - reach - 1;
  USER_CHECK(may_be_at_least(room, 0),
             "the kernel of size " << reach + 1 << " does not fit spatial dimension " << k << " of size " << in + pad << " with padding");
  return floordiv(room, stride) + 1;
}

void check_channels(const Conv& op, const Dim& have, const Shape& w, const Dim& rows) {
  USER_CHECK(op.groups >= 1, "groups must be positive, got " << op.groups);
  const Dim channels = op.transposed ? rows : w[1] * op.groups;
  USER_CHECK(may_equal(have, channels),
             "the input has " << have << " channels, the weight " << str(w) << " with groups=" << op.groups << " needs " << channels);
  USER_CHECK(!rows.is_const() || rows.value() % op.groups == 0, "dimension 0 of the weight, " << rows << ", does not divide into " << op.groups << " groups");
}

}  // namespace

Types infer_one(const Conv& op, Inputs in) {
  Check(in).inputs(2 + epilogue_inputs(op.epilogue)).same_dtype(2).rank_at_least(3).rank_at_least(3, 1);
  const Shape &x = in[0].shape, &w = in[1].shape;
  const size_t spatial = conv_spatial(op, w.size());
  const bool x_blocks = !op.transposed && in_blocks(x.size(), spatial), w_blocks = !op.transposed && in_blocks(w.size(), spatial);
  if (!x_blocks && !w_blocks) Check(in).same_rank(0, 1);
  check_list(op.stride, spatial, 1, "stride");
  check_list(op.dilation, spatial, 1, "dilation");
  check_list(op.pad_before, spatial, INT64_MIN, "pad_before");
  check_list(op.pad_after, spatial, INT64_MIN, "pad_after");
  check_list(op.output_padding, spatial, 0, "output_padding");
  USER_CHECK(op.transposed || op.output_padding.empty(), "output_padding belongs to a transposed convolution");
  check_channels(op, x_blocks ? x[1] * x.back() : x[1], w, w_blocks ? w[0] * w.back() : w[0]);
  Shape out{x[0], op.transposed ? w[1] * op.groups : w[0]};
  for (size_t k = 0; k < spatial; ++k) {
    out.push_back(conv_size(op, k, x[2 + k], w[2 + k]));
    check_size(out.back(), k);
  }
  if (w_blocks) out.push_back(w.back());
  check_epilogue(op.epilogue, in.subspan(2), out);
  return {plain(op.type, std::move(out))};
}

Types infer_one(const ExpandedDepthwise& op, Inputs in) {
  const size_t spatial = op.stride.size(), extras = expansion_extras(op);
  Check(in).inputs(3 + extras + epilogue_inputs(op.epilogue)).same_dtype(3);
  USER_CHECK(spatial > 0, "stride is empty");
  for (const auto* list : {&op.pad_before, &op.pad_after, &op.dilation})
    USER_CHECK(list->size() == spatial, "a list has " << list->size() << " entries for " << spatial << " spatial dimensions");
  const Shape &w = in[1].shape, &v = in[2].shape;
  const bool blocks = in_blocks(w.size(), spatial);
  USER_CHECK(blocks || w.size() == spatial + 2, "the weight " << str(w) << " does not go with " << spatial << " spatial dimensions");
  USER_CHECK(v.size() == w.size(), "the weights " << str(w) << " and " << str(v) << " differ in rank");
  for (size_t k = 0; k < spatial; ++k) USER_CHECK(may_equal(w[2 + k], 1), "the expansion's weight " << str(w) << " has more than one pixel");
  const Dim rows = blocks ? w[0] * w.back() : w[0];
  USER_CHECK(rows.is_const(), "the weight has " << rows << " rows, which is not known");
  USER_CHECK(may_equal(v[0], w[0]) && (!blocks || may_equal(v.back(), w.back())), "the weights " << str(w) << " and " << str(v) << " differ in rows");
  std::vector<TensorType> first{in[0], in[1]}, second{TensorType{}, in[2]};
  const auto rest = in.begin() + 3 + static_cast<std::ptrdiff_t>(extras);
  first.insert(first.end(), in.begin() + 3, rest);
  second.insert(second.end(), rest, in.end());
  second[0] = infer_one(expansion_of(op, in[0].dtype), first)[0];
  return infer_one(window_of(op, rows.value()), second);
}

Types infer_one(const ConvWeightGradient& op, Inputs in) {
  Check(in).inputs(2).same_dtype().rank_at_least(3).same_rank(0, 1);
  const Shape &dy = in[0].shape, &x = in[1].shape;
  const size_t spatial = x.size() - 2;
  USER_CHECK(op.kernel.size() == spatial, "kernel has " << op.kernel.size() << " entries for " << spatial << " spatial dimensions");
  USER_CHECK(is_float(in[0].dtype) && is_float(op.type), "needs float types, got " << name(in[0].dtype) << " and " << name(op.type));
  for (const auto* list : {&op.kernel, &op.stride, &op.dilation}) {
    USER_CHECK(list->size() == spatial, "a list has " << list->size() << " entries for " << spatial << " spatial dimensions");
    check_list(*list, spatial, 1, "kernel, stride or dilation");
  }
  for (const auto* list : {&op.pad_before, &op.pad_after})
    USER_CHECK(list->size() == spatial, "a padding has " << list->size() << " entries for " << spatial << " spatial dimensions");
  USER_CHECK(may_equal(dy[0], x[0]), "batch sizes " << dy[0] << " and " << x[0] << " differ");
  USER_CHECK(op.groups >= 1 && dy[1].is_const() && x[1].is_const() && dy[1].value() % op.groups == 0 && x[1].value() % op.groups == 0,
             dy[1] << " and " << x[1] << " channels do not divide into " << op.groups << " groups");
  Shape out{dy[1], Dim(x[1].value() / op.groups)};
  for (int64_t size : op.kernel) out.push_back(size);
  return {plain(op.type, std::move(out))};
}

namespace {

/// PyTorch's rule: ceil_mode rounds up, but no window may start in the right padding.
Dim pool_size(const Pool& op, size_t k, const Dim& in) {
  const int64_t kernel = op.kernel[k], stride = entry(op.stride, k, kernel), pad = entry(op.pad, k, 0), dilation = entry(op.dilation, k, 1);
  const int64_t reach = dilation * (kernel - 1);
  USER_CHECK(2 * pad <= reach + 1, "padding " << pad << " is more than half the kernel of size " << reach + 1);
  const Dim room = in + 2 * pad - reach - 1;
  if (!op.ceil_mode) {
    USER_CHECK(may_be_at_least(room, 0),
               "the kernel of size " << reach + 1 << " does not fit spatial dimension " << k << " of size " << in + 2 * pad << " with padding");
    return floordiv(room, stride) + 1;
  }
  return min(ceildiv(room, stride) + 1, ceildiv(in + pad, stride));
}

}  // namespace

Types infer_one(const Pool& op, Inputs in) {
  const size_t spatial = op.kernel.size();
  USER_CHECK(spatial > 0, "kernel is empty");
  Check(in).inputs(1).rank_at_least(static_cast<int>(spatial) + 1);
  check_list(op.kernel, spatial, 1, "kernel");
  check_list(op.stride, spatial, 1, "stride");
  check_list(op.pad, spatial, 0, "pad");
  check_list(op.dilation, spatial, 1, "dilation");
  USER_CHECK(op.divisor >= 0, "divisor must not be negative, got " << op.divisor);
  USER_CHECK(!op.with_indices || op.kind == PoolKind::max, "only max pooling has indices");
  Shape out = in[0].shape;
  const size_t first = out.size() - spatial;
  for (size_t k = 0; k < spatial; ++k) {
    out[first + k] = pool_size(op, k, out[first + k]);
    check_size(out[first + k], k);
  }
  Types result{plain(in[0].dtype, out)};
  if (op.with_indices) result.push_back(plain(DType::I64, out));
  return result;
}

Types infer_one(const AdaptivePool& op, Inputs in) {
  const size_t spatial = op.out.size();
  USER_CHECK(spatial > 0, "out is empty");
  Check(in).inputs(1).rank_at_least(static_cast<int>(spatial) + 1);
  check_list(op.out, spatial, 0, "out");
  Shape out = in[0].shape;
  for (size_t k = 0; k < spatial; ++k) {
    Dim& d = out[out.size() - spatial + k];
    USER_CHECK(may_be_at_least(d, 1), "spatial dimension " << k << " is empty");
    d = op.out[k];
  }
  return {plain(in[0].dtype, std::move(out))};
}

Types infer_one(const PoolGradient& op, Inputs in) {
  const size_t spatial = op.size.size();
  const bool max = op.kind == PoolKind::max;
  USER_CHECK(spatial > 0, "size is empty");
  Check(in).inputs(max ? 2 : 1).rank_at_least(static_cast<int>(spatial) + 1);
  USER_CHECK(is_float(in[0].dtype), "needs a float type, got " << name(in[0].dtype));
  if (max) {
    USER_CHECK(in[1].dtype == DType::I64, "the indices must be i64, got " << name(in[1].dtype));
    check_same_shape(in[1].shape, in[0].shape, "the indices");
  }
  for (const auto* list : {&op.kernel, &op.stride, &op.pad})
    USER_CHECK(list->size() == op.kernel.size(), "a list has " << list->size() << " entries for " << op.kernel.size() << " spatial dimensions");
  check_list(op.kernel, spatial, 1, "kernel");
  check_list(op.stride, spatial, 1, "stride");
  check_list(op.pad, spatial, 0, "pad");
  Shape out(in[0].shape.begin(), in[0].shape.end() - static_cast<std::ptrdiff_t>(spatial));
  out.insert(out.end(), op.size.begin(), op.size.end());
  return {plain(in[0].dtype, std::move(out))};
}

Types infer_one(const Resize& op, Inputs in) {
  const size_t spatial = op.size.size();
  USER_CHECK(spatial >= 1 && spatial <= 3, "size has " << spatial << " entries, needs 1 to 3");
  Check(in).inputs(1).rank_at_least(static_cast<int>(spatial) + 1);
  USER_CHECK(op.mode != ResizeMode::cubic || spatial == 2, "cubic resizing needs 2 spatial dimensions, got " << spatial);
  USER_CHECK(op.mode != ResizeMode::nearest || !op.align_corners, "align_corners does not go with nearest");
  USER_CHECK(op.scales.empty() || op.scales.size() == spatial, "scales has " << op.scales.size() << " entries for " << spatial << " spatial dimensions");
  Shape out = in[0].shape;
  for (size_t k = 0; k < spatial; ++k) {
    Dim& d = out[out.size() - spatial + k];
    USER_CHECK(may_be_at_least(op.size[k], 0) && may_be_at_least(d, 1), "spatial dimension " << k << " resizes " << d << " to " << op.size[k]);
    d = op.size[k];
  }
  return {plain(in[0].dtype, std::move(out))};
}

}  // namespace tuyere::inference
