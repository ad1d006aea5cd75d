// SPDX-License-Identifier: Apache-2.0
// Networks that run on the CPU while an engine is built.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "core/network/network.h"
#include "runtime/plan/plan.h"

namespace tuyere {

/// The main body as CPU steps, the first tactic of every list; `outputs` names its outputs. Copies that steps need are added to the network.
PlanBody emit_on_cpu(Network& network, const std::vector<std::string>& outputs, int num_threads);
/// The values of the only output of a network without inputs and parameters, row-major.
std::vector<std::byte> evaluate(Network network, int num_threads);

}  // namespace tuyere
