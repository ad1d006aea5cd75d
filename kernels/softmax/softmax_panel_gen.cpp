// SPDX-License-Identifier: Apache-2.0
// Softmax over an axis that is not innermost and fits the registers of a block or a cluster: one read, one write.
#include "kernels/codegen/panel.h"
#include "kernels/codegen/types.h"
#include "kernels/softmax/softmax_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

PanelForm panel_form(const SoftmaxForm& f) { return {f.rows, f.inputs, 1, f.real64 ? 16 : 8}; }

Kernel panel_kernel(const SoftmaxForm& f, const PanelPlan& plan) {
  Kernel k = softmax_kernel(f, "softmax_panel");
  const PanelForm form = panel_form(f);
  PanelWriter w(k, form, plan);
  const int out = f.inputs;
  const Vars vars = {{"V", std::to_string(plan.vec)}, {"s", storage_ctype(f.rows.ops[out].dtype)}};
  w.begin(f.inputs);
  w.load_panel();
  k.add("  Online part[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    T top = TG_NEG_INF;\n", vars);
  w.open();
  emit_softmax_input(k, f, w.elements());
  k.add("    top = tgs_max(top, x);\n");
  w.close();
  k.add("    const T base = top > TG_NEG_INF ? top : (T)0;\n    T sum = 0;\n");
  w.open();
  emit_softmax_input(k, f, w.elements());
  k.add("    sum += tgs_exp(x - base);\n");
  w.close();
  k.add("    part[j].m = top;\n    part[j].s = sum;\n  }\n");
  w.merge("Online");
  w.take_merged("Online");
  k.add("#pragma unroll\n  for (int j = 0; j < $V; ++j) total[j].s = $scale;\n", {vars[0], {"scale", softmax_scale(f, "total[j].s")}});
  w.open();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
  emit_softmax_input(k, f, w.elements());
  k.add("    y[j] = tg_cvt<$s>($r);\n    }\n", {vars[1], {"r", softmax_result(f, "x", "total[j].m", "total[j].s")}});
  k.body += w.store(out, "y");
  w.close();
  w.end(out);
  return k;
}

std::vector<PanelPlan> plans(const SoftmaxForm& f, const Target& target, const Symbols& hints) { return panel_plans(panel_form(f), target, hints); }

}  // namespace

class PanelSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.panel"; }
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(form.rows.outer.rank() > 0 && form.rows.outer.strides[0].back().is_const(1), "neighbouring rows are not neighbours in memory");
    REQUIRE(form.rows.outer.size.back().is_const() && is_static(form.rows.inner.size), "the length of the axis or the number of rows is not constant");
    REQUIRE(hint(form.rows.outer.size.back(), problem.hints) >= 4, "too few neighbouring rows");
    REQUIRE(!plans(form, target, problem.hints).empty(), "the axis does not fit the registers of a cluster");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    std::vector<Config> out;
    for (const PanelPlan& plan : plans(softmax_form(problem), target, problem.hints)) out.push_back(str(plan));
    if (level < 3) out.resize(1);
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const PanelPlan plan = parse_panel_plan(config, plans(form, target, problem.hints)[0]);
    return Tactic::estimate(problem, target, config) * panel_slowdown(panel_form(form), plan, target, problem.hints);
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    return {{panel_kernel(form, parse_panel_plan(config, plans(form, target, problem.hints)[0]))}, 0};
  }
};

DEFINE_TACTIC(PanelSoftmax)

}  // namespace tuyere
