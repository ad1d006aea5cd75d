// SPDX-License-Identifier: Apache-2.0
// Tactics of the layout family: Reshape, Permute, Expand, Slice, Flip, Concat, Pad.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_layout_cuda_tactics(TacticList& list);
void add_layout_cpu_tactics(TacticList& list);

}  // namespace tuyere
