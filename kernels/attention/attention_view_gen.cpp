// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/attention/attention_gen.h"

namespace tuyere::attention {

View view(const Problem& p) {
  const Attention& op = std::get<Attention>(p.op);
  const TensorDesc &q = p.in[0], &k = p.in[1], &v = p.in[2], &out = p.out[0];
  View r;
  r.batch = q.shape[0], r.heads = q.shape[1], r.queries = q.shape[2], r.depth = q.shape[3].value();
  r.kv_heads = k.shape[1], r.keys = k.shape[2], r.value_depth = v.shape[3].value();
  auto strides = [&](const TensorDesc& t) {
    std::vector<Dim> s = t.strides;
    for (size_t d = 0; d < 2; ++d)
      if (t.shape[d].is_const(1)) s[d] = 0;
    return s;
  };
  r.q = strides(q), r.k = strides(k), r.v = strides(v);
  r.type = q.dtype;
  r.alignment = std::min({q.alignment, k.alignment, v.alignment});
  r.scale = op.scale, r.causal = op.causal;
  if (op.has_mask) {
    r.mask = codegen::broadcast_strides(p.in[3], {r.batch, r.heads, r.queries, r.keys});
    r.mask_type = p.in[3].dtype;
  }
  r.out = {static_cast<int>(p.in.size()), out.dtype, out.strides, out.alignment};
  return r;
}

}  // namespace tuyere::attention
