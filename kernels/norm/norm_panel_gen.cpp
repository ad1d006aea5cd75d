// SPDX-License-Identifier: Apache-2.0
// Group norms of channels-last images that fit the registers of a block or a cluster: rows of channels are read once, and written once in either order.
#include "kernels/api/other_operator.h"
#include "kernels/norm/norm_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

int64_t group_of(const Problem& p) { return p.out[0].shape[1].value() / std::get<Norm>(p.op).groups; }

std::vector<PanelPlan> panels(const NormForm& form, const Problem& p, const Target& target) {
  return panel_plans(norm_panel_form(form, group_of(p)), target, p.hints);
}

}  // namespace

class PanelNorm final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.norm.panel"; }
  Support accepts(const Problem& problem, const Target& target) const override {
    const auto* op = std::get_if<Norm>(&problem.op);
    REQUIRE(op, kOtherOperator);
    REQUIRE(op->kind == NormKind::group, "not a group norm");
    REQUIRE(!is_empty(problem) && problem.out[0].rank() > 2, "no images");
    REQUIRE(problem.out[0].shape[1].is_const(), "the number of channels is not constant");
    const NormForm form = channel_norm_form(problem);
    REQUIRE(form.rows.outer.strides[0].back().is_const(1), "neighbouring channels are not neighbours in memory");
    REQUIRE(is_static(form.rows.inner.size), "the size of the images is not constant");
    REQUIRE(!panels(form, problem, target).empty(), "an image's group does not fit the registers of a cluster");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    std::vector<Config> out;
    for (const PanelPlan& plan : panels(channel_norm_form(problem), problem, target)) out.push_back(str(plan));
    if (level < 3) out.resize(1);
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const NormForm form = channel_norm_form(problem);
    const PanelPlan plan = parse_panel_plan(config, panels(form, problem, target)[0]);
    return Tactic::estimate(problem, target, config) * panel_slowdown(norm_panel_form(form, group_of(problem)), plan, target, problem.hints);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const NormForm form = channel_norm_form(problem);
    return norm_panel_kernel(form, group_of(problem), parse_panel_plan(config, panels(form, problem, target)[0]));
  }
};

DEFINE_TACTIC(PanelNorm)

}  // namespace tuyere
