// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/cumulate/cumulate_gen.h"
#include "kernels/cumulate/cumulate_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

class CumulateTactic : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Cumulate>(problem.op), kOtherOperator);
    return Support::yes();
  }
};

/// A warp or a block scans a line.
class GroupScan final : public CumulateTactic {
 public:
  std::string_view name() const override { return "own.cumulate.group"; }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (is_empty(problem)) return {""};
    const RowPlan best = cumulate_group_plan(problem, target);
    std::vector<Config> out{str(best)};
    if (level < 3) return out;
    const int64_t accesses = (cumulate_extent(problem).second + best.vec - 1) / best.vec;
    for (const auto& [tx, ty] : {std::pair{8, 32}, {4, 32}, {1, 64}, {1, 128}, {1, 256}, {1, 512}}) {
      RowPlan plan = best;
      plan.tx = tx;
      plan.ty = ty;
      plan.keep = static_cast<int>(std::clamp<int64_t>((accesses + ty - 1) / ty, 1, std::max(32 / best.vec, 1)));
      if (accesses * 2 > ty && str(plan) != out[0]) out.push_back(str(plan));
    }
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const auto [lines, length] = cumulate_extent(problem);
    const RowPlan plan = parse_row_plan(config, cumulate_group_plan(problem, target));
    const double threads = static_cast<double>(lines) * plan.ty, rounds = static_cast<double>(length) / (plan.ty * plan.keep * plan.vec) + 1;
    const double waves = std::max(1.0, threads / (1024.0 * std::max(target.multiprocessors, 1)));
    return 3e-6 + (is_dense_cumulate(problem) ? 1 : 4) * std::max(Tactic::estimate(problem, target, config), waves * rounds * 1e-6);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    return {{cumulate_group_kernel(problem, parse_row_plan(config, cumulate_group_plan(problem, target)))}, 0};
  }
};

/// A thread walks a line: many short lines.
class LineScan final : public CumulateTactic {
 public:
  std::string_view name() const override { return "own.cumulate.line"; }
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    const auto [lines, length] = cumulate_extent(problem);
    const double waves = static_cast<double>(lines) / (1024.0 * std::max(target.multiprocessors, 1));
    return 3e-6 + std::max(waves, 1.0) * static_cast<double>(length) * 2e-7;
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{cumulate_line_kernel(problem, target)}, 0}; }
};

}  // namespace

void add_cumulate_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<GroupScan>());
  list.push_back(std::make_unique<LineScan>());
}

}  // namespace tuyere
