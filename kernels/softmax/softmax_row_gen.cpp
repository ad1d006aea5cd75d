// SPDX-License-Identifier: Apache-2.0
// Threads share a row: in registers, or read twice when it is too long for them.
#include <algorithm>

#include "kernels/codegen/types.h"
#include "kernels/softmax/softmax_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

constexpr int kRegisterValues = 32;  // per thread

/// Element j of the prologue's inputs in arrays a<t><suffix>.
std::vector<std::string> elements_of(const SoftmaxForm& f, const RowWriter& w, const std::string& suffix) {
  std::vector<std::string> out;
  for (int t = 0; t < f.inputs; ++t) out.push_back(element("a" + std::to_string(t) + suffix, w.mode(t)));
  return out;
}

void row_in_registers(Kernel& k, const SoftmaxForm& f, RowWriter& w, const RowPlan& plan) {
  const int out = f.inputs;
  const Vars vars = {{"E", std::to_string(plan.keep)},
                     {"V", std::to_string(plan.vec)},
                     {"ty", std::to_string(plan.ty)},
                     {"warps", std::to_string(std::max(plan.ty / 32, 1))},
                     {"s", storage_ctype(f.rows.ops[out].dtype)}};
  for (int t = 0; t < f.inputs; ++t) k.body += declare_text(f.rows.ops[t], w.mode(t), plan.vec, "a" + std::to_string(t), "[" + std::to_string(plan.keep) + "]");
  k.add("  T v[$E][$V];\n", vars);
  w.open(true);
  w.coordinates();
  for (int t = 0; t < f.inputs; ++t) k.body += w.load_into(t, "a" + std::to_string(t) + "[e]");
  w.close();
  k.add(
      "  Largest largest = {TG_NEG_INF};\n#pragma unroll\n  for (int e = 0; e < $E; ++e)\n#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    v[e][j] = "
      "TG_NEG_INF;\n",
      vars);
  k.add("    if (live && ry + (idx)e * $ty < $n) {\n", {{"ty", std::to_string(plan.ty)}, {"n", w.steps()}});
  emit_softmax_input(k, f, elements_of(f, w, "[e]"));
  k.add(R"(    v[e][j] = x;
    largest.v = tgs_max(largest.v, x);
    }
  }
  __shared__ T shared[$warps];
  const T m = tg_group_merge<$ty>(largest, (Largest*)shared).v;
  Sum sum = {0};
#pragma unroll
  for (int e = 0; e < $E; ++e)
#pragma unroll
  for (int j = 0; j < $V; ++j) if (live && ry + (idx)e * $ty < $n) { const T p = tgs_exp(v[e][j] - m); sum.v += p; $keep }
  const T s = tg_group_merge<$ty>(sum, (Sum*)shared).v;
)",
        {{"warps", std::to_string(std::max(plan.ty / 32, 1))},
         {"ty", std::to_string(plan.ty)},
         {"E", std::to_string(plan.keep)},
         {"V", std::to_string(plan.vec)},
         {"n", w.steps()},
         {"keep", f.log ? "" : "v[e][j] = p;"}});
  k.add("  const T scale = $scale;\n", {{"scale", f.log ? "log(s)" : "(T)1 / s"}});
  w.open(true);
  w.coordinates();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) y[j] = tg_cvt<$s>(", vars);
  k.body += (f.log ? "v[e][j] - m - scale" : std::string("v[e][j] * scale")) + ");\n" + w.store(out, "y");
  w.close();
}

void row_in_passes(Kernel& k, const SoftmaxForm& f, RowWriter& w, const RowPlan& plan) {
  const int out = f.inputs;
  auto values = [&] {
    w.coordinates();
    for (int t = 0; t < f.inputs; ++t) k.body += w.load(t, "a" + std::to_string(t));
  };
  const Vars vars = {{"V", std::to_string(plan.vec)},
                     {"ty", std::to_string(plan.ty)},
                     {"warps", std::to_string(std::max(plan.ty / 32, 1))},
                     {"s", storage_ctype(f.rows.ops[out].dtype)}};
  k.add("  Online acc;\n  acc.init();\n");
  w.open(false);
  values();
  k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
  emit_softmax_input(k, f, elements_of(f, w, ""));
  k.add("    acc.add(x);\n    }\n");
  w.close();
  k.add("  __shared__ Online shared[$warps];\n  acc = tg_group_merge<$ty>(acc, shared);\n  const T m = acc.m, s = acc.s;\n", vars);
  k.add("  const T scale = $scale;\n", {{"scale", softmax_scale(f, "s")}});
  w.open(false);
  values();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
  emit_softmax_input(k, f, elements_of(f, w, ""));
  k.add("    y[j] = tg_cvt<$s>($r);\n    }\n", {{"s", storage_ctype(f.rows.ops[out].dtype)}, {"r", softmax_result(f, "x", "m", "scale")}});
  k.body += w.store(out, "y");
  w.close();
}

Kernel row_kernel(const SoftmaxForm& f, const RowPlan& plan) {
  Kernel k = softmax_kernel(f, "softmax");
  RowWriter w(k, f.rows, plan);
  w.begin();
  if (plan.keep > 0)
    row_in_registers(k, f, w, plan);
  else
    row_in_passes(k, f, w, plan);
  return k;
}

RowPlan row_plan(const SoftmaxForm& form, const Problem& problem, const Target& target) {
  return default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues);
}

/// What threads pay whose neighbours read other lines.
double stride_slowdown(const SoftmaxForm& form) { return form.rows.inner.rank() > 0 && !form.rows.inner.strides[0].back().is_const(1) ? 4 : 1; }

}  // namespace

/// The row stays in registers: one read, one write.
class RegisterSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.register"; }
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(is_static(form.rows.inner.size), "the length of the axis is not constant");
    REQUIRE(row_plan(form, problem, target).keep > 0, "the row does not fit the registers of a block");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    const SoftmaxForm form = softmax_form(problem);
    const RowPlan best = row_plan(form, problem, target);
    std::vector<Config> out{str(best)};
    if (level < 3) return out;
    const int64_t chunks = hint(numel(form.rows.inner.size), problem.hints) / best.vec;
    for (int ty : {best.ty / 2, best.ty * 2}) {
      RowPlan p = best;
      p.ty = ty;
      p.tx = ty >= 64 ? 1 : 128 / std::max(ty, 1);
      if (ty < 1 || ty > 1024) continue;
      p.keep = static_cast<int>((chunks + ty - 1) / ty);
      if (p.keep * p.vec <= 2 * kRegisterValues) out.push_back(str(p));
    }
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    return Tactic::estimate(problem, target, config) * stride_slowdown(softmax_form(problem));
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    return {{row_kernel(form, parse_row_plan(config, row_plan(form, problem, target)))}, 0};
  }
};

/// Any length, any strides: statistics in one pass, the result in a second.
class LoopSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.loop"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Softmax>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override {
    const SoftmaxForm form = softmax_form(problem);
    RowPlan plan = row_plan(form, problem, target);
    plan.keep = 0;
    return {{row_kernel(form, plan)}, 0};
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    RowPlan plan = row_plan(form, problem, target);
    plan.keep = 0;
    return Tactic::estimate(problem, target, config) * row_slowdown(form.rows, plan, target, problem.hints) * stride_slowdown(form);
  }
};

DEFINE_TACTIC(RegisterSoftmax)
DEFINE_TACTIC(LoopSoftmax)

}  // namespace tuyere
