// SPDX-License-Identifier: Apache-2.0
// Matrix multiplication and attention.
#include "common/error.h"
#include "core/network/infer/check.h"

namespace tuyere::inference {

Types infer_one(const MatMul& op, Inputs in) {
  Check(in).inputs(2 + epilogue_inputs(op.epilogue)).same_dtype(2).rank_at_least(2, 0).rank_at_least(2, 1);
  const Shape &a = in[0].shape, &b = in[1].shape;
  const size_t ra = a.size(), rb = b.size();
  const Dim &m = a[op.trans_a ? ra - 1 : ra - 2], &ka = a[op.trans_a ? ra - 2 : ra - 1];
  const Dim &kb = b[op.trans_b ? rb - 1 : rb - 2], &n = b[op.trans_b ? rb - 2 : rb - 1];
  USER_CHECK(may_equal(ka, kb), "inner sizes " << ka << " and " << kb << " differ (" << str(a) << " times " << str(b) << ")");
  Shape out = broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  out.push_back(m);
  out.push_back(n);
  check_epilogue(op.epilogue, in.subspan(2), out);
  return {plain(op.type, std::move(out))};
}

Types infer_one(const GatedMatMul& op, Inputs in) {
  USER_CHECK(op.epilogue.inputs.size() >= 2 && op.epilogue.outputs.size() == 1, "two products need an epilogue with one output that joins them");
  Check(in).inputs(1 + op.epilogue.inputs.size()).same_dtype(3).rank_at_least(2, 0).rank(2, 1);
  const Shape &a = in[0].shape, &b = in[1].shape;
  const Dim &k = b[op.trans_b ? 1 : 0], &n = b[op.trans_b ? 0 : 1];
  USER_CHECK(may_equal(a.back(), k), "inner sizes " << a.back() << " and " << k << " differ (" << str(a) << " times " << str(b) << ")");
  check_same_shape(in[2].shape, b, "the second matrix");
  Shape out(a.begin(), a.end() - 1);
  out.push_back(n);
  const Inputs extra = in.subspan(3);
  check_program(op.epilogue, "epilogue", 2, extra);
  for (size_t q = 0; q < extra.size(); ++q) check_broadcasts_to(extra[q].shape, out, "epilogue input i" + std::to_string(2 + q));
  return {plain(op.type, std::move(out))};
}

namespace {

/// in: q, k, v.
void check_attended(Inputs in) {
  Check(in).same_dtype(3).rank(4, 0).rank(4, 1).rank(4, 2);
  const Shape &q = in[0].shape, &k = in[1].shape, &v = in[2].shape;
  USER_CHECK(may_equal(q[0], k[0]) && may_equal(q[0], v[0]), "batch sizes " << q[0] << ", " << k[0] << " and " << v[0] << " differ");
  USER_CHECK(may_equal(k[1], v[1]), "k has " << k[1] << " heads, v has " << v[1]);
  USER_CHECK(!q[1].is_const() || !k[1].is_const() || (k[1].value() > 0 && q[1].value() % k[1].value() == 0),
             q[1] << " query heads are no multiple of " << k[1] << " key heads");
  USER_CHECK(may_equal(q[3], k[3]), "q has head size " << q[3] << ", k has " << k[3]);
  USER_CHECK(may_equal(k[2], v[2]), "k has length " << k[2] << ", v has " << v[2]);
}

void check_mask(const TensorType& mask, const Shape& q, const Shape& k) {
  USER_CHECK(is_float(mask.dtype) || mask.dtype == DType::Bool, "the mask must be float or bool, got " << name(mask.dtype));
  check_broadcasts_to(mask.shape, {q[0], q[1], q[2], k[2]}, "mask");
}

/// The first dimensions that a mask of so many batch entries counts for: it may be repeated.
Dim batches(const TensorType& mask, const Dim& batch) {
  const bool repeats = mask.shape.size() == 4 && mask.shape[0].is_const() && mask.shape[0].value() > 1 && mod(batch, mask.shape[0]).is_const(0);
  return repeats ? mask.shape[0] : batch;
}

}  // namespace

Types infer_one(const Attention& op, Inputs in) {
  Check(in).inputs(op.has_mask ? 4 : 3);
  check_attended(in.first(3));
  USER_CHECK(is_float(in[0].dtype) && is_float(op.type), "needs float types, got " << name(in[0].dtype) << " and " << name(op.type));
  const Shape &q = in[0].shape, &v = in[2].shape;
  if (op.has_mask) check_mask(in[3], {batches(in[3], q[0]), q[1], q[2], q[3]}, in[1].shape);
  Types out{plain(op.type, {q[0], q[1], q[2], v[3]})};
  if (op.logsumexp) out.push_back(plain(DType::F32, {q[0], q[1], q[2]}));
  return out;
}

Types infer_one(const AttentionGradient& op, Inputs in) {
  Check(in).inputs(op.has_mask ? 7 : 6).same_dtype(5);
  check_attended(in.subspan(1, 3));
  USER_CHECK(is_float(in[0].dtype) && is_float(op.type), "needs float types, got " << name(in[0].dtype) << " and " << name(op.type));
  const Shape &q = in[1].shape, &k = in[2].shape, &v = in[3].shape;
  USER_CHECK(may_equal(q[1], k[1]), "q has " << q[1] << " heads, k has " << k[1]);
  for (size_t each : {0, 4}) check_same_shape(in[each].shape, {q[0], q[1], q[2], v[3]}, each == 0 ? "the gradient" : "the output");
  USER_CHECK(in[5].dtype == DType::F32, "the logsumexp must be f32, got " << name(in[5].dtype));
  check_same_shape(in[5].shape, {q[0], q[1], q[2]}, "the logsumexp");
  if (op.has_mask) check_mask(in[6], q, k);
  return {plain(op.type, q), plain(op.type, k), plain(op.type, v)};
}

}  // namespace tuyere::inference
