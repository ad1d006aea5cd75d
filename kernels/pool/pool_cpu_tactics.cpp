// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/pool/pool_tactics.h"

namespace tuyere {

void add_pool_cpu_tactics(TacticList& list) {
  add_reference_tactic<Pool>(list, "reference.pool");
  add_reference_tactic<AdaptivePool>(list, "reference.adaptive_pool");
}

}  // namespace tuyere
