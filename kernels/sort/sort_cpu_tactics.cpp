// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/sort/sort_tactics.h"

namespace tuyere {

void add_sort_cpu_tactics(TacticList& list) {
  add_reference_tactic<TopK>(list, "reference.topk");
  add_reference_tactic<Sort>(list, "reference.sort");
}

}  // namespace tuyere
