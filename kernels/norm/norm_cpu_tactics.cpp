// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/norm/norm_tactics.h"

namespace tuyere {

void add_norm_cpu_tactics(TacticList& list) {
  add_reference_tactic<Norm>(list, "reference.norm");
}

}  // namespace tuyere
