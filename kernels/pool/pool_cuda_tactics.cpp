// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/other_operator.h"
#include "kernels/pool/pool_gen.h"
#include "kernels/pool/pool_tactics.h"
#include "kernels/reduce/reduce_gen.h"

namespace tuyere {
namespace {

using namespace codegen;

class WindowPool final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.pool.window"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Pool>(problem.op) || std::holds_alternative<AdaptivePool>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{pool_kernel(problem, target)}, 0}; }
};

/// Adaptive pooling to 1x1: a reduction of the spatial dims.
class GlobalPool final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.pool.global"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Pool>(problem.op) || std::holds_alternative<AdaptivePool>(problem.op), kOtherOperator);
    REQUIRE(is_global_pool(problem), "the windows do not cover the input");
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const auto& op = std::get<AdaptivePool>(problem.op);
    std::vector<int> axes;
    for (size_t d = 0; d < op.out.size(); ++d) axes.push_back(problem.in[0].rank() - static_cast<int>(op.out.size() - d));
    ReduceForm form = reduce_form_over(problem, axes, true, 1);
    form.kind = op.kind == PoolKind::max ? "max" : "mean";
    const ReducePlan plan = parse_plan(config, default_plan(form, target, problem.hints, prefers_column(form, problem.hints)));
    return reduce_kernels(form, plan, 2);
  }
};

}  // namespace

void add_pool_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<GlobalPool>());
  list.push_back(std::make_unique<WindowPool>());
  ADD_TACTIC(list, GatherPoolGradient);
}

}  // namespace tuyere
