// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/norm/norm_gen.h"
#include "kernels/norm/norm_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kRegisterValues = 32;  // per thread

RowPlan plan_for(const NormForm& form, const Problem& problem, const Target& target) {
  return default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues);
}

class NormTactic : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target& target) const override {
    REQUIRE(std::holds_alternative<Norm>(problem.op), kOtherOperator);
    if (is_empty(problem)) return Support::yes();
    const NormForm form = norm_form(problem);
    REQUIRE(form.statistics < 0 || !(form.real64 || form.rms), "the statistics of layer norms are kept in f32");
    return restrictions(form, problem, target);
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (is_empty(problem)) return {""};
    const NormForm form = norm_form(problem);
    const RowPlan best = plan(form, problem, target);
    std::vector<Config> out{str(best)};
    if (level >= 3) widen(form, problem, best, out);
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const double floor = Tactic::estimate(problem, target, config);
    if (is_empty(problem)) return floor;
    const NormForm form = norm_form(problem);
    return floor * row_slowdown(form.rows, parse_row_plan(config, plan(form, problem, target)), target, problem.hints);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const NormForm form = norm_form(problem);
    return norm_kernels(form, parse_row_plan(config, plan(form, problem, target)), static_cast<int>(problem.in.size() + problem.out.size()));
  }

 protected:
  virtual Support restrictions(const NormForm&, const Problem&, const Target&) const { return Support::yes(); }
  virtual RowPlan plan(const NormForm& form, const Problem& problem, const Target& target) const = 0;
  virtual void widen(const NormForm&, const Problem&, const RowPlan&, std::vector<Config>&) const {}
};

/// The row stays in registers: one read, one write.
class RegisterNorm final : public NormTactic {
 public:
  std::string_view name() const override { return "own.norm.register"; }

 protected:
  Support restrictions(const NormForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(plan_for(form, problem, target).keep > 0, "the row does not fit the registers of a block, or its length is not constant");
    return Support::yes();
  }
  RowPlan plan(const NormForm& form, const Problem& problem, const Target& target) const override { return plan_for(form, problem, target); }
  void widen(const NormForm& form, const Problem& problem, const RowPlan& best, std::vector<Config>& out) const override {
    const int64_t chunks = hint(numel(form.rows.inner.size), problem.hints) / best.vec;
    for (int ty : {best.ty / 2, best.ty * 2}) {
      if (ty < 1 || ty > 1024) continue;
      RowPlan p = best;
      p.ty = ty;
      p.tx = ty >= 64 ? 1 : 128 / ty;
      p.keep = static_cast<int>((chunks + ty - 1) / ty);
      if (p.keep * p.vec <= 2 * kRegisterValues) out.push_back(str(p));
    }
  }
};

/// Few long rows: blocks share a row, partial statistics go through the workspace.
class SplitNorm final : public NormTactic {
 public:
  std::string_view name() const override { return "own.norm.split"; }

 protected:
  Support restrictions(const NormForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(plan(form, problem, target).split > 1, "enough rows, or rows too short to share");
    return Support::yes();
  }
  RowPlan plan(const NormForm& form, const Problem& problem, const Target& target) const override {
    RowPlan p = plan_for(form, problem, target);
    const int64_t rows = std::max<int64_t>(hint(numel(form.rows.outer.size), problem.hints), 1),
                  chunks = hint(numel(form.rows.inner.size), problem.hints) / p.vec;
    p.tx = 1;
    p.ty = 256;
    p.keep = 0;
    p.split = 1;
    while (rows * p.split < 4 * target.multiprocessors && chunks / 256 / p.split >= 8 && p.split < 128) p.split *= 2;
    return p;
  }
};

/// Any length, any strides: the row is read three times, from L2 where it fits.
class LoopNorm final : public NormTactic {
 public:
  std::string_view name() const override { return "own.norm.loop"; }

 protected:
  RowPlan plan(const NormForm& form, const Problem& problem, const Target& target) const override {
    RowPlan p = plan_for(form, problem, target);
    p.keep = 0;
    return p;
  }
};

}  // namespace

void add_norm_cuda_tactics(TacticList& list) {
  ADD_TACTIC(list, PanelNorm);
  ADD_TACTIC(list, SplitPanelNorm);
  list.push_back(std::make_unique<RegisterNorm>());
  list.push_back(std::make_unique<SplitNorm>());
  list.push_back(std::make_unique<LoopNorm>());
  ADD_TACTIC(list, LayerNormGradientRows);
}

}  // namespace tuyere
