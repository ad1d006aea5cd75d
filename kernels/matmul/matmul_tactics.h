// SPDX-License-Identifier: Apache-2.0
// Candidates of the matmul family, in order of preference.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_matmul_cpu_tactics(TacticList& list);
void add_gated_matmul_cpu_tactics(TacticList& list);
void add_matmul_cuda_tactics(TacticList& list);
void add_gated_matmul_cuda_tactics(TacticList& list);

}  // namespace tuyere
