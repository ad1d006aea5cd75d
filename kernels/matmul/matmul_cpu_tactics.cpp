// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/matmul/matmul_tactics.h"
#include "kernels/onednn/onednn_tactics.h"

namespace tuyere {
namespace {

Support library_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<MatMul>(p.op), kOtherOperator);
  return onednn_gemm_supports(p);
}

}  // namespace

void add_matmul_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"onednn.matmul", library_supports, 1.2, true});
  add_reference_tactic<MatMul>(list, "reference.matmul");
}

}  // namespace tuyere
