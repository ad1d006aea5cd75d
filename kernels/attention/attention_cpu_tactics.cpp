// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/attention/attention_tactics.h"

namespace tuyere {

void add_attention_cpu_tactics(TacticList& list) {
  add_reference_tactic<Attention>(list, "reference.attention");
}

}  // namespace tuyere
