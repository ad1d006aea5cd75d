// SPDX-License-Identifier: Apache-2.0
// optimization_level 5: a kernel that is fastest alone need not be in its network (caches, clocks, what the launch before leaves behind).
#pragma once
#include <functional>

#include "core/builder/choose.h"
#include "core/builder/timing_cache.h"
#include "runtime/plan/plan.h"

namespace tuyere {

/// Microseconds of one call of the engine at the sizes `hints`, on random data; `target` is present.
Result<double> time_engine(const EngineFile& file, const Symbols& hints, const Target& target);

/// Replaces the choices of the hottest problems by their runners-up where the whole network is faster with them. `emit` makes the engine of
/// `choices`. What was measured goes to `cache`, as candidates of one key per network, so that a second build decides alike. Returns the number of
/// measurements.
int check_in_network(const std::vector<Problem>& problems, std::vector<Choice>& choices, const std::function<EngineFile(const std::vector<Choice>&)>& emit,
                     const Symbols& hints, const Target& target, TimingCache& cache);

}  // namespace tuyere
