// SPDX-License-Identifier: Apache-2.0
// Runs a problem's generated kernels on the emulator and compares with the reference kernels of the CPU library.
#pragma once
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/api/tactic.h"
#include "kernels/codegen/kernel.h"

namespace tuyere::testing {

/// A problem of tests/kernels_gpu/problems_*.txt; sample: the line is marked with '*'.
struct ListedProblem {
  std::string text, file;
  bool sample = false;
};
std::vector<ListedProblem> listed_problems();
/// The own tactics that support the problem.
std::vector<const codegen::CudaTactic*> own_tactics(const Problem& problem, const Target& target);
/// The own tactics of all operators.
std::set<std::string_view> own_names();
/// "" or the first difference: at the hint sizes, and with every symbol one larger.
std::string compare_with_reference(const Problem& problem, const codegen::CudaTactic& tactic, const Target& target, const Config& config);

}  // namespace tuyere::testing
