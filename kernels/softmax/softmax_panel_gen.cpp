// SPDX-License-Identifier: Apache-2.0
// Softmax over an axis that is not innermost: blocks read whole lines of neighbouring rows.
#include "kernels/codegen/panel.h"
#include "kernels/codegen/types.h"
#include "kernels/softmax/softmax_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

PanelForm panel_form(const SoftmaxForm& f) { return {f.rows, f.inputs, 1, f.real64 ? 16 : 8}; }

/// exp(x - m), with what does not depend on x computed before. Differences come first, because values may be larger than any error is small; those of f16 are
/// not, where the result is as short.
const char* kRaised = R"(
TGF T tgs_shift(T m) { return $shift; }
TGF T tgs_raised(T x, T shift) { return $raised; }
)";

class PanelSoftmaxWriter {
 public:
  PanelSoftmaxWriter(const SoftmaxForm& f, const PanelPlan& plan, int workspace) : f_(f), form_(panel_form(f)), plan_(plan), workspace_(workspace) {
    const DType in = f.rows.ops[0].dtype, out = f.rows.ops[f.inputs].dtype;
    bounded_ = f.prologue.empty() && in == DType::F16 && is_float(out) && bits(out) <= 16;
    pairs_ = f.prologue.empty() && (in == DType::F16 || in == DType::BF16) && plan.vec % 2 == 0;
    vars_ = {{"V", std::to_string(plan.vec)}, {"s", storage_ctype(out)}};
  }

  Generated kernels() const {
    if (plan_.split == 1) return {{whole()}, 0};
    return {{parts(), merged(), applied()}, split_bytes(form_, plan_)};
  }

 private:
  Kernel whole() const {
    Kernel k = make("softmax_panel");
    PanelWriter w(k, form_, plan_);
    w.begin(f_.inputs);
    w.load_panel();
    statistics(k, w);
    w.take_merged("Online");
    result(k, w);
    return k;
  }
  Kernel parts() const {
    Kernel k = make("softmax_panel_parts");
    PanelWriter w(k, form_, plan_);
    w.begin(static_cast<int>(f_.rows.ops.size()));
    w.load_panel();
    statistics(k, w);
    w.put_groups("Online", workspace_);
    return k;
  }
  Kernel merged() const {
    Kernel k = make("softmax_panel_merge");
    emit_panel_merge(k, form_, plan_, "Online", "{TG_NEG_INF, 0}", workspace_);
    return k;
  }
  Kernel applied() const {
    Kernel k = make("softmax_panel_apply");
    PanelWriter w(k, form_, plan_);
    w.begin(f_.inputs, true);
    w.take_groups("Online", workspace_);
    w.load_panel();
    w.forget();
    result(k, w);
    return k;
  }

  Kernel make(const char* name) const {
    Kernel k = softmax_kernel(f_, name);
    k.define(kRaised, {{"shift", bounded_ ? "m * TGS_LOG2_E" : "m"}, {"raised", bounded_ ? "tg_exp2_rough(x * TGS_LOG2_E - shift)" : "tgs_exp(x - shift)"}});
    if (pairs_) k.define(pair_maximum(f_.rows.ops[0].dtype, false));
    return k;
  }

  void statistics(Kernel& k, PanelWriter& w) const {
    k.add("  Online part[$V];\n", vars_);
    if (pairs_ && w.mode(0) == Mode::vector) {
      k.add("#pragma unroll\n  for (int i = 0; i < $V / 2; ++i) {\n    unsigned pair = tg_pair_least;\n", vars_);
      w.open();
      k.add("    pair = tg_pair_max(pair, (unsigned)a0[e][2 * i].x | (unsigned)a0[e][2 * i + 1].x << 16);\n");
      w.close();
      k.add(
          "#pragma unroll\n  for (int j = 2 * i; j < 2 * i + 2; ++j) {\n    $s16 largest;\n    largest.x = (unsigned short)(pair >> (j - 2 * i) * 16);\n"
          "    const T top = (T)tg_value(largest);\n",
          {{"s16", storage_ctype(f_.rows.ops[0].dtype)}});
    } else {
      k.add("  {\n#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    T top = TG_NEG_INF;\n", vars_);
      w.open();
      emit_softmax_input(k, f_, w.elements());
      k.add("    top = tgs_max(top, x);\n");
      w.close();
    }
    w.forget();
    k.add("    const T shift = tgs_shift(top > TG_NEG_INF ? top : (T)0);\n    T sum = 0;\n");
    w.open();
    emit_softmax_input(k, f_, w.elements());
    k.add("    sum += tgs_raised(x, shift);\n");
    w.close();
    k.add("    part[j].m = top;\n    part[j].s = sum;\n  }\n  }\n");
    w.merge("Online");
  }

  void result(Kernel& k, PanelWriter& w) const {
    const bool raised = bounded_ && !f_.log;  // the scale is part of the shift
    k.add("#pragma unroll\n  for (int j = 0; j < $V; ++j) total[j].s = $scale;\n",
          {vars_[0], {"scale", (raised ? "tgs_shift(total[j].m) + " : "") + softmax_scale(f_, "total[j].s")}});
    w.open();
    k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars_);
    emit_softmax_input(k, f_, w.elements());
    k.add("    y[j] = tg_cvt<$s>($r);\n    }\n", {vars_[1], {"r", raised ? "tgs_raised(x, total[j].s)" : softmax_result(f_, "x", "total[j].m", "total[j].s")}});
    k.body += w.store(f_.inputs, "y");
    w.close_results(f_.inputs);
  }

  const SoftmaxForm& f_;
  PanelForm form_;
  PanelPlan plan_;
  int workspace_;
  bool bounded_ = false, pairs_ = false;
  Vars vars_;
};

}  // namespace

class PanelSoftmaxBase : public SoftmaxTactic {
 public:
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(form.rows.outer.rank() > 0 && form.rows.outer.strides[0].back().is_const(1), "neighbouring rows are not neighbours in memory");
    REQUIRE(form.rows.outer.size.back().is_const() && is_static(form.rows.inner.size), "the length of the axis or the number of rows is not constant");
    REQUIRE(hint(form.rows.outer.size.back(), problem.hints) >= 4, "too few neighbouring rows");
    REQUIRE(!plans(panel_form(form), problem, target).empty(), why_not());
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    const SoftmaxForm form = softmax_form(problem);
    std::vector<Config> out;
    for (const PanelPlan& plan : plans(panel_form(form), problem, target)) out.push_back(str(plan));
    if (level < 3) out.resize(1);
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const PanelPlan plan = plan_of(form, problem, target, config);
    return Tactic::estimate(problem, target, config) * panel_slowdown(panel_form(form), plan, target, problem.hints) * (plan.split > 1 ? 1.5 : 1);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    return PanelSoftmaxWriter(form, plan_of(form, problem, target, config), static_cast<int>(problem.in.size() + problem.out.size())).kernels();
  }

 protected:
  virtual std::vector<PanelPlan> plans(const PanelForm& form, const Problem& problem, const Target& target) const = 0;
  virtual const char* why_not() const = 0;

 private:
  PanelPlan plan_of(const SoftmaxForm& form, const Problem& problem, const Target& target, const Config& config) const {
    return parse_panel_plan(config, plans(panel_form(form), problem, target)[0]);
  }
};

/// The axis fits the registers of a block or a cluster: one read, one write.
class PanelSoftmax final : public PanelSoftmaxBase {
 public:
  std::string_view name() const override { return "own.softmax.panel"; }

 protected:
  std::vector<PanelPlan> plans(const PanelForm& form, const Problem& problem, const Target& target) const override {
    return panel_plans(form, target, problem.hints);
  }
  const char* why_not() const override { return "the axis does not fit the registers of a cluster"; }
};

/// A long axis of few rows: blocks share it, and what they know of it goes through the workspace.
class SplitPanelSoftmax final : public PanelSoftmaxBase {
 public:
  std::string_view name() const override { return "own.softmax.split_panel"; }

 protected:
  std::vector<PanelPlan> plans(const PanelForm& form, const Problem&, const Target& target) const override { return split_panel_plans(form, target); }
  const char* why_not() const override { return "the axis fits the registers of a block"; }
};

DEFINE_TACTIC(PanelSoftmax)
DEFINE_TACTIC(SplitPanelSoftmax)

}  // namespace tuyere
