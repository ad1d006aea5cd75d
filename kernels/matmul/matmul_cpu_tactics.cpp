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

Support blocked_supports(const Problem& p) {
  const Support op = is_op<MatMul>(p);
  if (!op) return op;
  REQUIRE(p.out.size() == 1 && p.in.size() <= 32, "the epilogue has too many operands");
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32 && compute_type(p.in[1].dtype) == DType::F32, "products are added up in f32");
  return whole_bytes(p);
}

}  // namespace

void add_matmul_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"onednn.matmul", library_supports, 1.2, true});
  add_cpu_tactic(list, {"own.matmul.blocked", blocked_supports, 1.6, true});
  add_reference_tactic<MatMul>(list, "reference.matmul");
}

}  // namespace tuyere
