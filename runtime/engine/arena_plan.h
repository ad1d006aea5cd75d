// SPDX-License-Identifier: Apache-2.0
// Places arena buffers and workspaces of a body in one arena.
#pragma once
#include <vector>

#include "runtime/plan/plan.h"

namespace tuyere {

struct ArenaPlan {
  std::vector<int64_t> buffers;     // offset per buffer, -1 when it is not in the arena
  std::vector<int64_t> workspaces;  // offset per step
  int64_t bytes = 0;
  int64_t lower_bound = 0;
};

/// A buffer lives from its first to its last step; observed tensors to the end. Where steps run on several streams, a buffer also lives through every
/// later step that may run at the same time as one of its users.
ArenaPlan plan_arena(const PlanBody& body, const std::vector<int64_t>& buffer_bytes, const std::vector<int64_t>& workspace_bytes);

}  // namespace tuyere
