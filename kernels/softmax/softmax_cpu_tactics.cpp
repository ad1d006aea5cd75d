// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/softmax/softmax_tactics.h"

namespace tuyere {

void add_softmax_cpu_tactics(TacticList& list) {
  add_reference_tactic<Softmax>(list, "reference.softmax");
}

}  // namespace tuyere
