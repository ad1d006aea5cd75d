// SPDX-License-Identifier: Apache-2.0
// Group norms of channels-last images: blocks read rows of channels rather than groups, and write them in either order.
#include "kernels/api/other_operator.h"
#include "kernels/norm/norm_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

int64_t group_of(const Problem& p) { return p.out[0].shape[1].value() / std::get<Norm>(p.op).groups; }

}  // namespace

class ChannelNorm : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target& target) const override {
    const auto* op = std::get_if<Norm>(&problem.op);
    REQUIRE(op, kOtherOperator);
    REQUIRE(op->kind == NormKind::group, "not a group norm");
    REQUIRE(!is_empty(problem) && problem.out[0].rank() > 2, "no images");
    REQUIRE(problem.out[0].shape[1].is_const(), "the number of channels is not constant");
    const NormForm form = channel_norm_form(problem);
    REQUIRE(form.rows.outer.strides[0].back().is_const(1), "neighbouring channels are not neighbours in memory");
    REQUIRE(is_static(form.rows.inner.size), "the size of the images is not constant");
    REQUIRE(!plans(norm_panel_form(form, group_of(problem)), problem, target).empty(), why_not());
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    const NormForm form = channel_norm_form(problem);
    std::vector<Config> out;
    for (const PanelPlan& plan : plans(norm_panel_form(form, group_of(problem)), problem, target)) out.push_back(str(plan));
    if (level < 3) out.resize(1);
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const PanelForm panel = norm_panel_form(channel_norm_form(problem), group_of(problem));
    const PanelPlan plan = plan_of(panel, problem, target, config);
    return Tactic::estimate(problem, target, config) * panel_slowdown(panel, plan, target, problem.hints) * (plan.split > 1 ? 1.5 : 1);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const NormForm form = channel_norm_form(problem);
    const PanelPlan plan = plan_of(norm_panel_form(form, group_of(problem)), problem, target, config);
    return norm_panel_kernels(form, group_of(problem), plan, static_cast<int>(problem.in.size() + problem.out.size()));
  }

 protected:
  virtual std::vector<PanelPlan> plans(const PanelForm& form, const Problem& problem, const Target& target) const = 0;
  virtual const char* why_not() const = 0;

 private:
  PanelPlan plan_of(const PanelForm& form, const Problem& problem, const Target& target, const Config& config) const {
    return parse_panel_plan(config, plans(form, problem, target)[0]);
  }
};

/// The group stays in the registers of a block or a cluster: one read, one write.
class PanelNorm final : public ChannelNorm {
 public:
  std::string_view name() const override { return "own.norm.panel"; }

 protected:
  std::vector<PanelPlan> plans(const PanelForm& form, const Problem& problem, const Target& target) const override {
    return panel_plans(form, target, problem.hints);
  }
  const char* why_not() const override { return "an image's group does not fit the registers of a cluster"; }
};

/// Images of any size: statistics in one pass, the result in a second.
class SplitPanelNorm final : public ChannelNorm {
 public:
  std::string_view name() const override { return "own.norm.split_panel"; }

 protected:
  std::vector<PanelPlan> plans(const PanelForm& form, const Problem&, const Target& target) const override { return split_panel_plans(form, target); }
  const char* why_not() const override { return "an image's group fits the registers of a block, or a pixel's does not"; }
};

DEFINE_TACTIC(PanelNorm)
DEFINE_TACTIC(SplitPanelNorm)

}  // namespace tuyere
