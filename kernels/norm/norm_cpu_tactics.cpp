// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/norm/norm_tactics.h"

namespace tuyere {
namespace {

Support tile_supports(const Problem& p) {
  const auto* op = std::get_if<Norm>(&p.op);
  REQUIRE(op, kOtherOperator);
  const DType type = op->prologue.empty() ? p.in[0].dtype : op->prologue.type_of(op->prologue.outputs[0]);
  REQUIRE(compute_type(type) == DType::F32, "rows are kept in f32");
  return whole_bytes(p);
}

Support gradient_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<LayerNormGradient>(p.op), kOtherOperator);
  for (const auto* tensors : {&p.in, &p.out}) {
    for (const TensorDesc& t : *tensors) REQUIRE(compute_type(t.dtype) == DType::F32, "rows are kept in f32");
  }
  return whole_bytes(p);
}

}  // namespace

void add_norm_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.norm.tile", tile_supports, 2});
  add_reference_tactic<Norm>(list, "reference.norm");
  add_cpu_tactic(list, {"own.layer_norm_gradient.rows", gradient_supports, 2});
  add_reference_tactic<LayerNormGradient>(list, "reference.layer_norm_gradient");
}

}  // namespace tuyere
