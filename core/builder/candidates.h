// SPDX-License-Identifier: Apache-2.0
// Which tactics and configurations come into question for a problem, before anything is compiled or timed.
#pragma once
#include <string>
#include <vector>

#include "core/builder/builder.h"
#include "kernels/api/tactics.h"

namespace tuyere {

struct Candidate {
  const Tactic* tactic = nullptr;
  Config config;
  double estimate = 0;   // seconds
  bool reserve = false;  // so slow by its estimate that it is only used when the others fail
};

struct Candidates {
  std::vector<Candidate> list;       // the most promising first
  std::vector<std::string> why_not;  // "cudnn.conv: channels not a multiple of 8"
};

/// level 0: the first supported tactic's first configuration; 1: the cost model's best; 2: its best three; 3: the best of every tactic, filled
/// up to a dozen of our own, those of hopeless estimates in reserve; 4 and 5: all that the tactics offer at that level. Reference tactics only when there is
/// nothing else, when `references` asks for them, or when the sources name them at level 4 or 5.
Candidates find_candidates(const Problem& problem, const Target& target, const TacticList& tactics, const std::vector<std::string>& sources, int level,
                           bool references = false);

}  // namespace tuyere
