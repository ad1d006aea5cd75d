// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/conv/conv_tactics.h"

namespace tuyere {

void add_conv_cpu_tactics(TacticList& list) {
  add_reference_tactic<Conv>(list, "reference.conv");
}

}  // namespace tuyere
