// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/layout/layout_tactics.h"

namespace tuyere {

void add_layout_cpu_tactics(TacticList& list) {
  add_reference_tactic<Reshape>(list, "reference.reshape");
  add_reference_tactic<Permute>(list, "reference.permute");
  add_reference_tactic<Expand>(list, "reference.expand");
  add_reference_tactic<Slice>(list, "reference.slice");
  add_reference_tactic<Concat>(list, "reference.concat");
  add_reference_tactic<Pad>(list, "reference.pad");
  add_reference_tactic<Flip>(list, "reference.flip");
}

}  // namespace tuyere
