// SPDX-License-Identifier: Apache-2.0
// Measuring steps as they will run: prepared by their executor, on random data, candidates taking turns.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kernels/api/problem.h"
#include "kernels/api/step.h"

namespace tuyere {

struct Timing {
  double micros = 0;
  std::string error;  // why it could not be measured, or ""
};

/// Median microseconds of each step at the problem's hint sizes, on `target`, which must be present. CUDA: captured graphs of several launches
/// between events; CPU: a steady clock. Close races are measured longest; candidates four times
/// slower than the best hardly at all.
std::vector<Timing> time_steps(const Problem& problem, std::span<const StepSpec* const> steps, const Target& target);

/// Bytes of workspace that the step needs at the problem's hint sizes: by its executor where the target is present, by its spec otherwise.
int64_t workspace_at_hints(const Problem& problem, const StepSpec& spec, const Target& target);

}  // namespace tuyere
