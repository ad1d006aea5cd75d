// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/recurrent/recurrent_tactics.h"

namespace tuyere {
namespace {

Support panels_support(const Problem& p) {
  REQUIRE(std::holds_alternative<Recurrent>(p.op), kOtherOperator);
  for (const auto* tensors : {&p.in, &p.out}) {
    for (const TensorDesc& t : *tensors) REQUIRE(t.dtype == DType::F32 || t.dtype == DType::BF16, "tensors are f32 or bf16");
  }
  return Support::yes();
}

}  // namespace

void add_recurrent_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.recurrent.panels", panels_support, 2});
  add_reference_tactic<Recurrent>(list, "reference.recurrent");
}

}  // namespace tuyere
