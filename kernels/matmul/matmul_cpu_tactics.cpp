// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/matmul/matmul_tactics.h"

namespace tuyere {

void add_matmul_cpu_tactics(TacticList& list) {
  add_reference_tactic<MatMul>(list, "reference.matmul");
}

}  // namespace tuyere
