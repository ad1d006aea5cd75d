// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/attention/attention_gen.h"

namespace tuyere::attention {

Support attention_shape(const Problem& p) {
  REQUIRE(std::holds_alternative<Attention>(p.op), kOtherOperator);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(p.in[i].rank() == 4, "operands are not [B,H,S,D]");
    REQUIRE(p.in[i].shape[3].is_const(), "symbolic head size");
    REQUIRE(p.in[i].dtype == p.in[0].dtype, "operands of different types");
  }
  REQUIRE(is_float(p.in[0].dtype), "not a float type");
  REQUIRE(!std::get<Attention>(p.op).logsumexp || p.in[0].dtype != DType::F64, "the logsumexp is kept in f32");
  return Support::yes();
}

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
    r.mask_batches = p.in[3].rank() == 4 && !p.in[3].shape[0].is_const(1) ? p.in[3].shape[0] : r.batch;
    r.mask = codegen::broadcast_strides(p.in[3], {r.mask_batches, r.heads, r.queries, r.keys});
    r.mask_type = p.in[3].dtype;
    r.mask_alignment = p.in[3].alignment;
  }
  r.out = {static_cast<int>(p.in.size()), out.dtype, out.strides, out.alignment};
  if (op.logsumexp) r.logsumexp = p.out[1].strides;
  return r;
}

codegen::Vars operand_vars(const View& v, mma::KernelParams& params) {
  codegen::Vars vars = {
      {"D", std::to_string(v.depth)}, {"DV", std::to_string(v.value_depth)}, {"SQ", params.size(v.queries)}, {"SK", params.size(v.keys)},
      {"H", params.size(v.heads)},    {"HKV", params.size(v.kv_heads)},      {"B", params.size(v.batch)},    {"CAUSAL", v.causal ? "true" : "false"}};
  const char* names[] = {"Q", "K", "V"};
  const std::vector<Dim>* strides[] = {&v.q, &v.k, &v.v};
  for (int i = 0; i < 3; ++i) {
    const std::string n = names[i];
    vars.push_back({n, params.pointer(i, v.type, false)});
    const char* dims[] = {"B", "H", "S", "D"};
    for (size_t d = 0; d < 4; ++d) vars.push_back({n + dims[d], params.offset((*strides[i])[d])});
  }
  return vars;
}

std::string logsumexp_text(const View& v, mma::KernelParams& params, const std::string& condition, const std::vector<std::string>& row,
                           const std::string& value) {
  if (v.logsumexp.empty()) return "";
  std::string at;
  for (size_t d = 0; d < row.size(); ++d) at += (d ? " + (TGM_IDX)(" : "(TGM_IDX)(") + row[d] + ") * " + params.offset(v.logsumexp[d]);
  return "if (" + condition + ") " + params.pointer(v.out.position + 1, DType::F32, true) + "[" + at + "] = (float)(" + value + ");";
}

std::string mask_offset(const View& v, mma::KernelParams& params, const std::vector<std::string>& coordinates) {
  std::string at = "0";
  for (size_t d = 0; d < coordinates.size(); ++d) {
    if (v.mask[d].is_const(0)) continue;
    const bool repeats = d == 0 && !(v.mask_batches == v.batch);
    at += " + (TGM_IDX)" + (repeats ? "(" + coordinates[d] + " % " + params.size(v.mask_batches) + ")" : coordinates[d]) + " * " + params.offset(v.mask[d]);
  }
  return at;
}

}  // namespace tuyere::attention
