// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/cumulate/cumulate_tactics.h"

namespace tuyere {

void add_cumulate_cpu_tactics(TacticList& list) { add_reference_tactic<Cumulate>(list, "reference.cumulate"); }

}  // namespace tuyere
