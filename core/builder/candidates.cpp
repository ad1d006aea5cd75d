// SPDX-License-Identifier: Apache-2.0
#include "core/builder/candidates.h"

#include <algorithm>
#include <set>

#include "kernels/api/other_operator.h"

namespace tuyere {
namespace {

constexpr std::string_view kReference = "reference";

bool selected(const Tactic& tactic, const std::vector<std::string>& sources) {
  return sources.empty() || std::find(sources.begin(), sources.end(), tactic.source()) != sources.end();
}

constexpr double kHopeless = 10;  // times the best estimate: more than estimates are wrong by

size_t limit_of(int level) { return level <= 1 ? 1 : level == 2 ? 3 : level == 3 ? 12 : SIZE_MAX; }

/// At level 3 the limit is for kernels that have to be compiled: libraries offer a number that suits the level, mostly of kernels that are there already.
void shorten(std::vector<Candidate>& list, int level) {
  if (level != 3) {
    if (list.size() > limit_of(level)) list.resize(limit_of(level));
    return;
  }
  size_t own = 0;
  std::erase_if(list, [&](const Candidate& c) { return c.tactic->source() == "own" && ++own > limit_of(level); });
}

/// By estimate, but the best configuration of every tactic comes before the second best of any: an estimate is surer within a tactic than between two.
void rank(std::vector<Candidate>& list) {
  auto by_estimate = [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; };
  std::stable_sort(list.begin(), list.end(), by_estimate);
  std::vector<Candidate> first, rest;
  std::set<const Tactic*> seen;
  for (Candidate& c : list) (seen.insert(c.tactic).second ? first : rest).push_back(std::move(c));
  list = std::move(first);
  list.insert(list.end(), rest.begin(), rest.end());
}

void add_configs(const Tactic& tactic, const Problem& problem, const Target& target, int level, std::vector<Candidate>& list) {
  for (const Config& config : tactic.configs(problem, target, level)) {
    list.push_back({&tactic, config, level == 0 ? 0 : tactic.estimate(problem, target, config), false});
    if (level == 0) return;
  }
}

}  // namespace

Candidates find_candidates(const Problem& problem, const Target& target, const TacticList& tactics, const std::vector<std::string>& sources, int level,
                           bool references) {
  Candidates result;
  std::vector<const Tactic*> fallback;
  for (const auto& tactic : tactics) {
    if (level == 0 && !result.list.empty()) break;
    bool reference = tactic->source() == kReference;
    if (!reference && !selected(*tactic, sources)) {
      result.why_not.push_back(std::string(tactic->name()) + ": not among tactic_sources");
      continue;
    }
    Support support = tactic->supports(problem, target);
    if (!support) {
      if (support.reason() != kOtherOperator) result.why_not.push_back(std::string(tactic->name()) + ": " + support.reason());
    } else if (reference) {
      fallback.push_back(tactic.get());
    } else {
      add_configs(*tactic, problem, target, level, result.list);
    }
  }
  const auto add_references = [&] {
    for (const Tactic* tactic : fallback) add_configs(*tactic, problem, target, level, result.list);
  };
  references |= level >= 4 && std::find(sources.begin(), sources.end(), kReference) != sources.end();
  const bool alone = result.list.empty();
  if (alone) add_references();
  if (level > 0) rank(result.list);
  shorten(result.list, level);
  if (level == 2 || level == 3) {
    double best = result.list.empty() ? 0 : result.list[0].estimate;
    for (const Candidate& c : result.list) best = std::min(best, c.estimate);
    for (Candidate& c : result.list) c.reserve = c.estimate > kHopeless * best;
  }
  if (references && !alone) add_references();
  return result;
}

}  // namespace tuyere
