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

Types infer_one(const Attention& op, Inputs in) {
  Check(in).inputs(op.has_mask ? 4 : 3).same_dtype(3).rank(4, 0).rank(4, 1).rank(4, 2);
  const Shape &q = in[0].shape, &k = in[1].shape, &v = in[2].shape;
  USER_CHECK(is_float(in[0].dtype) && is_float(op.type), "needs float types, got " << name(in[0].dtype) << " and " << name(op.type));
  USER_CHECK(may_equal(q[0], k[0]) && may_equal(q[0], v[0]), "batch sizes " << q[0] << ", " << k[0] << " and " << v[0] << " differ");
  USER_CHECK(may_equal(k[1], v[1]), "k has " << k[1] << " heads, v has " << v[1]);
  USER_CHECK(!q[1].is_const() || !k[1].is_const() || (k[1].value() > 0 && q[1].value() % k[1].value() == 0),
             q[1] << " query heads are no multiple of " << k[1] << " key heads");
  USER_CHECK(may_equal(q[3], k[3]), "q has head size " << q[3] << ", k has " << k[3]);
  USER_CHECK(may_equal(k[2], v[2]), "k has length " << k[2] << ", v has " << v[2]);
  if (op.has_mask) {
    USER_CHECK(is_float(in[3].dtype) || in[3].dtype == DType::Bool, "the mask must be float or bool, got " << name(in[3].dtype));
    check_broadcasts_to(in[3].shape, {q[0], q[1], q[2], k[2]}, "mask");
  }
  return {plain(op.type, {q[0], q[1], q[2], v[3]})};
}

}  // namespace tuyere::inference
