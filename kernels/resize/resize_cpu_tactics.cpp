// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/resize/resize_tactics.h"

namespace tuyere {

void add_resize_cpu_tactics(TacticList& list) {
  add_reference_tactic<Resize>(list, "reference.resize");
}

}  // namespace tuyere
