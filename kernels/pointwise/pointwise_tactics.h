// SPDX-License-Identifier: Apache-2.0
// Tactics of the pointwise family.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_pointwise_cuda_tactics(TacticList& list);
void add_pointwise_cpu_tactics(TacticList& list);

}  // namespace tuyere
