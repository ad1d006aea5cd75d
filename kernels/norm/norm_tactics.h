// SPDX-License-Identifier: Apache-2.0
// Candidates of the norm family, in order of preference.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_norm_cpu_tactics(TacticList& list);
void add_norm_cuda_tactics(TacticList& list);

}  // namespace tuyere
