// SPDX-License-Identifier: Apache-2.0
// Candidates of the recurrent family, in order of preference.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

void add_recurrent_cpu_tactics(TacticList& list);

}  // namespace tuyere
