// SPDX-License-Identifier: Apache-2.0
// Candidates for a problem. A family lists its tactics in order of preference, the reference last.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/env.h"
#include "kernels/api/problem.h"
#include "kernels/api/step.h"

namespace tuyere {

/// Yes, or no with the reason: the one type that answers "why not" everywhere.
class [[nodiscard]] Support {
 public:
  static Support yes() { return Support(true, ""); }
  static Support no(std::string reason) { return Support(false, std::move(reason)); }
  explicit operator bool() const { return yes_; }
  const std::string& reason() const { return reason_; }

 private:
  Support(bool yes, std::string reason) : yes_(yes), reason_(std::move(reason)) {}
  bool yes_;
  std::string reason_;
};

/// One way a tactic can answer a problem, e.g. "tile=128x128x32 stages=3". The text is what the timing cache keeps.
using Config = std::string;

class Tactic {
 public:
  virtual ~Tactic() = default;
  /// Unique, e.g. "own.conv.implicit_gemm".
  virtual std::string_view name() const = 0;
  /// "own", "cudnn", "cublaslt", "onednn" or "reference": what `tactic_sources` selects by.
  virtual std::string_view source() const = 0;
  virtual Support supports(const Problem& problem, const Target& target) const = 0;
  /// Configurations, the most promising first. Never empty when supported. `level`: optimization level 0..5, more is wider.
  virtual std::vector<Config> configs(const Problem&, const Target&, int level) const {
    (void)level;
    return {""};
  }
  /// Estimated seconds at the hint sizes; used to prune and to choose when nothing can be timed. Default: traffic and FLOPs against the target.
  virtual double estimate(const Problem& problem, const Target& target, const Config& config) const;
  /// The step. Compiles device code (thread-safe; through the cubin cache). Throws Error on failure.
  virtual StepSpec make(const Problem& problem, const Target& target, const Config& config) const = 0;
};

using TacticList = std::vector<std::unique_ptr<const Tactic>>;

}  // namespace tuyere

/// In a supports() body: says no with the reason unless the condition holds.
#define REQUIRE(cond, reason)                          \
  do {                                                 \
    if (!(cond)) return ::tuyere::Support::no(reason); \
  } while (0)
