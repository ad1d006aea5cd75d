// SPDX-License-Identifier: Apache-2.0
// The candidates for an operator, in order of preference: kernels/tactic_lists/*.cpp. Control and view operators have none.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

/// Lists live as long as the process.
const TacticList& cpu_tactics(const Op& op);
const TacticList& cuda_tactics(const Op& op);
inline const TacticList& tactics(const Op& op, const Target& target) { return target.is_cuda() ? cuda_tactics(op) : cpu_tactics(op); }

}  // namespace tuyere
