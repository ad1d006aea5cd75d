// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/fill/fill_tactics.h"

namespace tuyere {

void add_fill_cpu_tactics(TacticList& list) {
  add_reference_tactic<Iota>(list, "reference.iota");
  add_reference_tactic<Fill>(list, "reference.fill");
}

}  // namespace tuyere
