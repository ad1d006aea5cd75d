// SPDX-License-Identifier: Apache-2.0
// Chooses a tactic for every problem: the fastest measured one, or the cost model's favourite where nothing can be timed.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/builder/builder.h"
#include "core/builder/timing_cache.h"
#include "kernels/api/step.h"
#include "kernels/api/tactic.h"

namespace tuyere {

struct Choice {
  std::string tactic, config;
  StepSpec spec;
  double micros = 0;                       // measured; 0: not
  std::vector<std::string> why_not;        // tactics that came not into question, and candidates that failed
  std::vector<TimedCandidate> runners_up;  // measured too, and not much slower: the next of the same tactic, the best of others
};

struct ChooseStats {
  int timed = 0, cache_hits = 0;
  double seconds = 0;
  std::vector<std::pair<std::string, double>> phases;  // seconds of "candidates", "compile", "time", "finish"
};

/// One choice per problem; equal problems are decided once. Compiles in parallel, times one candidate after the other, and adds what it measured
/// to `cache`. Times that are in the cache are taken from there, for an absent device as well. Error{User} when a problem has no candidate
/// (it lists why) or when `config.progress` cancels; times measured so far are in `cache` then.
std::vector<Choice> choose(const std::vector<Problem>& problems, const Target& target, const BuilderConfig& config, TimingCache& cache, ChooseStats& stats);

/// The step of a candidate; the reason when it cannot be compiled or needs more workspace than `config` allows.
Result<StepSpec> make_step(const Problem& problem, const Tactic& tactic, const std::string& config, const Target& target, const BuilderConfig& options);

/// Tactics and configurations, one a line: equal names, equal steps.
std::string names_of(const std::vector<Choice>& choices);

/// Reports progress; throws Error{User} "cancelled".
void report_progress(const BuilderConfig& config, const std::string& phase, int done, int total, const std::string& what);

}  // namespace tuyere
