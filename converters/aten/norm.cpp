// SPDX-License-Identifier: Apache-2.0
// Layer, RMS, group and batch normalization.
#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// The norm of x with the node's optional weight and bias; further outputs are its statistics.
std::vector<TensorId> normalize_all(Convert& c, Norm norm, TensorId x) {
  std::vector<TensorId> inputs{x};
  for (const char* name : {"weight", "bias"}) {
    std::optional<TensorId> tensor = c.maybe_tensor(name);
    if (!tensor) continue;
    (name[0] == 'w' ? norm.has_weight : norm.has_bias) = true;
    inputs.push_back(*tensor);
  }
  norm.type = c.out_type().dtype;
  return norm.statistics ? add_native(c, norm, inputs) : c.add_n(norm, inputs);
}
TensorId normalize(Convert& c, const Norm& norm, TensorId x) { return normalize_all(c, norm, x)[0]; }

void check_statistics(const Convert& c) {
  for (int k = 1; k < static_cast<int>(c.node.outputs.size()); ++k) USER_CHECK(!c.used(k), "the statistics of the normalization are used (training)");
}

void layer_norm(Convert& c) {
  check_statistics(c);
  Norm norm{.kind = NormKind::layer, .axes = static_cast<int64_t>(c.list("normalized_shape").size()), .eps = c.number("eps")};
  c.out(normalize(c, norm, c.tensor("input")));
}

/// Training reads the statistics.
void native_layer_norm(Convert& c) {
  const TensorId x = c.tensor("input");
  Norm norm{.kind = NormKind::layer, .axes = static_cast<int64_t>(c.list("normalized_shape").size()), .eps = c.number("eps")};
  norm.statistics = c.used(1) || c.used(2);
  const std::vector<TensorId> out = normalize_all(c, norm, x);
  c.out(out[0]);
  for (int k = 1; k < static_cast<int>(out.size()); ++k)
    if (c.used(k)) c.out(c.cast(out[static_cast<size_t>(k)], c.out_type(k).dtype), k);
}

void native_layer_norm_backward(Convert& c) {
  const TensorId x = c.tensor("input");
  LayerNormGradient op{.axes = static_cast<int64_t>(c.list("normalized_shape").size()), .has_weight = c.has("weight")};
  op.parameters = c.used(1) || c.used(2);
  op.type = c.type(x).dtype;
  if (op.parameters) op.parameter_type = c.out_type(c.used(1) ? 1 : 2).dtype;
  std::vector<TensorId> inputs{c.tensor("grad_out"), x, c.cast(c.tensor("mean"), DType::F32), c.cast(c.tensor("rstd"), DType::F32)};
  if (op.has_weight) inputs.push_back(c.tensor("weight"));
  const std::vector<TensorId> out = add_native(c, op, inputs);
  for (int k = 0; k < 3; ++k)
    if (c.used(k)) c.out(out[static_cast<size_t>(k)], k);
}

void rms_norm(Convert& c) {
  check_statistics(c);
  TensorId x = c.tensor("input");
  // PyTorch's default is the machine epsilon of the type the statistics are taken in.
  double eps = c.has("eps") ? c.number("eps") : epsilon(compute_type(c.type(x).dtype));
  c.out(normalize(c, {.kind = NormKind::rms, .axes = static_cast<int64_t>(c.list("normalized_shape").size()), .eps = eps}, x));
}

void group_norm(Convert& c) {
  Norm norm{.kind = NormKind::group, .groups = c.integer("num_groups"), .eps = c.number("eps")};
  c.out(normalize(c, norm, c.tensor("input")));
}

/// The flattened form: the sizes N, C, HxW are those of the input.
void native_group_norm(Convert& c) {
  check_statistics(c);
  Norm norm{.kind = NormKind::group, .groups = c.integer("group"), .eps = c.number("eps")};
  c.out(normalize(c, norm, c.tensor("input")));
}

/// x * (w * rsqrt(var + eps)) + (b - mean * w * rsqrt(var + eps)): the constants in f32, reshaped to [C,1,...], the two steps as layers of one function,
/// which the passes fold into the convolution before or fuse into the neighbours.
void batch_norm_by(Convert& c, TensorId mean, TensorId var) {
  TensorId x = c.tensor("input");
  const TensorType type = c.out_type();
  DType wide = compute_type(type.dtype);
  USER_CHECK(rank_of(c, x) >= 2, "batch norm of rank " << rank_of(c, x));
  Pw p(c, wide);
  Pw::Value factor = p(Fn::rsqrt, {p(Fn::add, {p.in(var), p.num(c.number("eps"))})});
  if (c.has("weight")) factor = p(Fn::mul, {p.in("weight"), factor});
  TensorId scale = p.finish(factor, wide);
  Pw q(c, wide);
  Pw::Value offset = q(Fn::mul, {q.in(mean), q.in(scale)});
  TensorId shift = q.finish(c.has("bias") ? q(Fn::sub, {q.in("bias"), offset}) : q(Fn::neg, {offset}), wide);
  TensorId y = c.pointwise(Fn::mul, {x, per_channel(c, scale, rank_of(c, x))}, wide);
  c.out(c.pointwise(Fn::add, {y, per_channel(c, shift, rank_of(c, x))}, type.dtype));
}

void batch_norm(Convert& c) {
  USER_CHECK(!c.has("training") || !c.boolean("training"), "batch norm in training mode");
  USER_CHECK(c.has("running_mean") && c.has("running_var"), "batch norm without running statistics");
  check_statistics(c);
  batch_norm_by(c, c.tensor("running_mean"), c.tensor("running_var"));
}

}  // namespace

void add_norms(ConverterTable& t) {
  t.add("aten::layer_norm", layer_norm);
  t.add("aten::native_layer_norm", native_layer_norm);
  t.add("aten::native_layer_norm_backward", native_layer_norm_backward);
  add_each(t, {"aten::rms_norm", "aten::_fused_rms_norm"}, rms_norm);
  t.add("aten::group_norm", group_norm);
  t.add("aten::native_group_norm", native_group_norm);
  add_each(t,
           {"aten::batch_norm", "aten::_native_batch_norm_legit_no_training", "aten::_native_batch_norm_legit", "aten::native_batch_norm",
            "aten::_batch_norm_no_update"},
           batch_norm);
}

}  // namespace tuyere
