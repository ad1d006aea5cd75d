// SPDX-License-Identifier: Apache-2.0
// A kernel that is fastest alone need not be in its network (caches, power, what the launch before leaves behind): the hottest layers' choices are
// checked there.
#pragma once
#include <functional>
#include <utility>

#include "core/builder/choose.h"
#include "core/builder/timing_cache.h"

namespace tuyere {

/// Times a body with two sets of choices.
class NetworkTimer {
 public:
  virtual ~NetworkTimer() = default;
  /// Microseconds of one call with `a` and of one with `b`, measured in turns, each while its calls follow each other without a pause. All choices have their
  /// steps.
  virtual Result<std::pair<double, double>> compare(const std::vector<Choice>& a, const std::vector<Choice>& b) = 0;
};

struct NetworkCheck {
  NetworkTimer* timer = nullptr;  // none: only what the cache knows
  /// The step of a runner-up; the reason why there is none.
  std::function<Result<StepSpec>(const Problem&, const TimedCandidate&)> make;
  std::function<void(int done, int total)> progress;
  bool exhaustive = false;  // all layers, however long it takes; otherwise the hottest within some seconds
};

/// Replaces the choices of the hottest problems by their runners-up where the whole network is faster with them. What was measured goes to `cache`,
/// as candidates of one key per network, so that a second build decides alike: it measures nothing. Returns the number of measurements.
int check_in_network(const std::vector<Problem>& problems, std::vector<Choice>& choices, const NetworkCheck& check, TimingCache& cache);

}  // namespace tuyere
