// SPDX-License-Identifier: Apache-2.0
// The pipeline: one array. Every invariant that a later pass relies on is a comment here.
#include "core/passes/passes.h"

namespace tuyere {

const std::vector<Pass>& pipeline() {
  static const std::vector<Pass> passes = {
  };
  return passes;
}

}  // namespace tuyere
