// SPDX-License-Identifier: Apache-2.0
// Runs a problem through a tactic's step and compares with the reference kernel, with guard zones around every output.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/api/tactic.h"

namespace tuyere::testing_cpu {

/// Memory of one tensor, with guards on both sides.
class GuardedTensor {
 public:
  GuardedTensor(const TensorDesc& desc, const Symbols& symbols);
  void* data() { return memory_.data() + kGuard; }
  const TensorView& view() const { return view_; }
  /// Random values; integers in [low, high].
  void fill_random(unsigned seed, int low, int high);
  std::vector<double> values() const;  // in logical order
  bool guards_intact() const;

 private:
  static constexpr size_t kGuard = 256;
  std::vector<unsigned char> memory_;
  TensorView view_;
};

struct RunOptions {
  int int_low = -4, int_high = 4;
  double tolerance = 0;  // added to the default of the output's type
  double apart = 0;      // the same for candidates that do the parts of an operator apart, with a tensor between them
};

/// Runs every supporting tactic of `problem_text` but the reference, and checks outputs against the reference. Returns the names that ran.
std::vector<std::string> check_against_reference(const std::string& problem_text, const RunOptions& options = {});
/// Outputs of one tactic over the given inputs, as doubles in logical order.
std::vector<std::vector<double>> run_tactic(const Tactic& tactic, const Problem& problem, const RunOptions& options,
                                            const std::vector<std::vector<double>>* inputs = nullptr);
/// A candidate of any operator.
const Tactic& find_tactic(const std::string& name);

}  // namespace tuyere::testing_cpu
