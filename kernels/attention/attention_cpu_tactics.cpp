// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_tactics.h"
#include "kernels/cpu/cpu_tactic.h"

namespace tuyere {
namespace {

Support tile_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Attention>(p.op), kOtherOperator);
  for (int k = 0; k < 3; ++k) REQUIRE(is_float(p.in[k].dtype) && p.in[k].dtype != DType::F64, "scores are kept in f32");
  return whole_bytes(p);
}

Support gradient_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<AttentionGradient>(p.op), kOtherOperator);
  for (int k = 0; k < 5; ++k) REQUIRE(is_float(p.in[k].dtype) && p.in[k].dtype != DType::F64, "scores are kept in f32");
  for (const TensorDesc& t : p.out) REQUIRE(compute_type(t.dtype) == DType::F32, "sums are kept in f32");
  return whole_bytes(p);
}

}  // namespace

void add_attention_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.attention.tile", tile_supports, 2});
  add_reference_tactic<Attention>(list, "reference.attention");
  add_cpu_tactic(list, {"own.attention_gradient.tile", gradient_supports, 2});
  add_reference_tactic<AttentionGradient>(list, "reference.attention_gradient");
}

}  // namespace tuyere
