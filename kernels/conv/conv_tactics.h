// SPDX-License-Identifier: Apache-2.0
// Candidates of the conv family, in order of preference.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_conv_cpu_tactics(TacticList& list);
void add_expanded_depthwise_cpu_tactics(TacticList& list);
void add_conv_cuda_tactics(TacticList& list);

}  // namespace tuyere
