// SPDX-License-Identifier: Apache-2.0
// The sizes of a body for given symbol values, checked: whoever uses them can index without further checks.
#pragma once
#include <vector>

#include "runtime/plan/plan.h"

namespace tuyere {

struct BodySizes {
  std::vector<TensorView> tensors;
  std::vector<int64_t> offsets;       // bytes into its buffer, per tensor
  std::vector<int64_t> buffer_bytes;  // inputs and outputs: the bytes that the caller's tensor spans
  std::vector<int64_t> workspaces;    // per step: StepSpec::workspace
};

/// InvalidArgument when a size is negative or absurd or a view leaves its buffer for these values (named in `symbols`).
Result<BodySizes> eval_sizes(const PlanBody& body, const Symbols& symbols);

}  // namespace tuyere
