// SPDX-License-Identifier: Apache-2.0
// Gradients of a layer norm. With y = (x - mean) * rstd and g = dy * weight:
//   dx = rstd * (g - mean(g) - y * mean(g * y))     rows, as the norm itself
//   dweight = sum(dy * y), dbias = sum(dy)          reductions over the rows
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/row_writer.h"
#include "kernels/codegen/types.h"
#include "kernels/reduce/reduce_gen.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kGradientValues = 16;  // of each of g and y, per thread

struct GradientForm {
  Rows rows;  // tensors: the inputs in order, dx
  int inputs = 0;
  bool has_weight = false;
};

GradientForm gradient_form(const Problem& p) {
  const auto& op = std::get<LayerNormGradient>(p.op);
  GradientForm f;
  f.inputs = static_cast<int>(p.in.size());
  f.has_weight = op.has_weight;
  const Shape& shape = p.in[1].shape;
  const int rank = static_cast<int>(shape.size());
  std::vector<std::vector<Dim>> strides;
  for (int t = 0; t < f.inputs; ++t) {
    f.rows.ops.push_back(operand(p.in[t], t));
    strides.push_back(broadcast_strides(p.in[t], shape));
  }
  f.rows.ops.push_back(operand(p.out[0], f.inputs));
  strides.push_back(p.out[0].strides);
  std::vector<int> outer, inner;
  for (int d = 0; d < rank; ++d) (d < rank - static_cast<int>(op.axes) ? outer : inner).push_back(d);
  const Space all = make_space(shape, strides);
  f.rows.outer = select(all, outer);
  f.rows.inner = select(all, inner);
  normalize(f.rows.outer, f.inputs, p.hints);
  normalize(f.rows.inner, f.inputs, p.hints);
  return f;
}

class RowGradientWriter {
 public:
  RowGradientWriter(const GradientForm& form, const RowPlan& plan) : f_(form), plan_(plan) {}

  Kernel write() {
    Kernel k("layer_norm_gradient", needs_wide({&f_.rows.outer, &f_.rows.inner}));
    k.define("struct Sums { float g, gy; TGF_U void merge(const Sums& o) { g += o.g; gy += o.gy; } };\n");
    RowWriter w(k, f_.rows, plan_);
    w.begin();
    k.add("  float mean = 0, rstd = 0;\n  if (live) {\n    mean = *($m);\n    rstd = *($r);\n  }\n  Sums sums = {0, 0};\n",
          {{"m", w.row_address(2, false)}, {"r", w.row_address(3, false)}});
    if (plan_.keep > 0) k.add("  float g[$E][$V], y[$E][$V];\n", vars());
    w.open(plan_.keep > 0);
    values(k, w);
    if (plan_.keep > 0) k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) { g[e][j] = g_[j]; y[e][j] = y_[j]; }\n", vars());
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) { sums.g += g_[j]; sums.gy += g_[j] * y_[j]; }\n", vars());
    w.close();
    k.add("  __shared__ Sums shared[$warps];\n  sums = tg_group_merge<$ty>(sums, shared);\n", vars());
    k.add("  const float mean_g = sums.g / (float)$n, mean_gy = sums.gy / (float)$n;\n", {{"n", w.count()}});
    w.open(plan_.keep > 0);
    if (plan_.keep > 0)
      w.coordinates();
    else
      values(k, w);
    k.add("    $s out[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) out[j] = tg_cvt<$s>(rstd * ($g - mean_g - $y * mean_gy));\n",
          {{"s", storage_ctype(f_.rows.ops[f_.inputs].dtype)},
           {"V", std::to_string(plan_.vec)},
           {"g", plan_.keep > 0 ? "g[e][j]" : "g_[j]"},
           {"y", plan_.keep > 0 ? "y[e][j]" : "y_[j]"}});
    k.body += w.store(f_.inputs, "out");
    w.close();
    return k;
  }

 private:
  Vars vars() const {
    return {{"E", std::to_string(plan_.keep)},
            {"V", std::to_string(plan_.vec)},
            {"ty", std::to_string(plan_.ty)},
            {"warps", std::to_string(std::max(plan_.ty / 32, 1))}};
  }

  /// Declares g_ and y_ of one access.
  void values(Kernel& k, RowWriter& w) const {
    w.coordinates();
    k.body += w.load(0, "a") + w.load(1, "b");
    if (f_.has_weight) k.body += w.load(4, "c");
    k.add("    float g_[$V], y_[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars());
    k.add("      g_[j] = tg_cvt<float>($a)$c;\n      y_[j] = (tg_cvt<float>($b) - mean) * rstd;\n    }\n",
          {{"a", element("a", w.mode(0))}, {"b", element("b", w.mode(1))}, {"c", f_.has_weight ? " * tg_cvt<float>(" + element("c", w.mode(4)) + ")" : ""}});
  }

  const GradientForm& f_;
  const RowPlan& plan_;
};

/// The sum over the rows of dy, or of dy * y, to output `output`.
Problem parameter_problem(const Problem& p, int output) {
  const auto& op = std::get<LayerNormGradient>(p.op);
  Reduce sum{.type = op.parameter_type};
  for (int64_t d = 0; d < p.in[0].rank() - op.axes; ++d) sum.axes.push_back(d);
  Problem reduction;
  reduction.in = {p.in[0]};
  if (output == 1) {
    Program program{.inputs = {DType::F32, DType::F32, DType::F32, DType::F32}};
    const int y = program.add(Fn::mul, {program.add(Fn::sub, {1, 2}), 3});
    program.outputs = {static_cast<int16_t>(program.add(Fn::mul, {0, y}))};
    sum.prologue = program;
    reduction.in = {p.in[0], p.in[1], p.in[2], p.in[3]};
  }
  reduction.op = sum;
  reduction.out = {p.out[static_cast<size_t>(output)]};
  reduction.hints = p.hints;
  return reduction;
}

Generated parameter_kernels(const Problem& p, int output, const Target& target) {
  ReduceForm form = reduce_form(parameter_problem(p, output));
  form.rows.ops.back().position = static_cast<int>(p.in.size()) + output;
  form.name = output == 1 ? "layer_norm_weight_gradient" : "layer_norm_bias_gradient";
  const ReducePlan plan = default_plan(form, target, p.hints, prefers_column(form, p.hints));
  return reduce_kernels(form, plan, static_cast<int>(p.in.size() + p.out.size()));
}

class LayerNormGradientRows final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.layer_norm_gradient.rows"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<LayerNormGradient>(problem.op), kOtherOperator);
    for (const auto* tensors : {&problem.in, &problem.out})
      for (const TensorDesc& t : *tensors) REQUIRE(is_float(t.dtype) && compute_type(t.dtype) == DType::F32, "sums are kept in f32");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (is_empty(problem)) return {""};
    const RowPlan best = plan_for(problem, target);
    std::vector<Config> out{str(best)};
    if (level >= 3 && best.keep > 0) {
      RowPlan loop = best;
      loop.keep = 0;
      out.push_back(str(loop));
    }
    return out;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const double floor = Tactic::estimate(problem, target, config);
    if (is_empty(problem)) return floor;
    constexpr double kLaunches = 6e-6;
    const GradientForm form = gradient_form(problem);
    const double parameters = std::get<LayerNormGradient>(problem.op).parameters ? 1.0 : 0.0;
    return floor * (row_slowdown(form.rows, parse_row_plan(config, plan_for(problem, target)), target, problem.hints) + parameters) + kLaunches * parameters;
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const GradientForm form = gradient_form(problem);
    const RowPlan plan = parse_row_plan(config, plan_for(problem, target));
    Generated all{{RowGradientWriter(form, plan).write()}, 0};
    for (int output = 1; output < static_cast<int>(problem.out.size()); ++output) {
      Generated sums = parameter_kernels(problem, output, target);
      for (Kernel& kernel : sums.kernels) all.kernels.push_back(std::move(kernel));
      all.workspace = max(all.workspace, sums.workspace);  // one after the other
    }
    return all;
  }

 private:
  static RowPlan plan_for(const Problem& problem, const Target& target) {
    return default_row_plan(gradient_form(problem).rows, 2, target, problem.hints, kGradientValues);
  }
};

}  // namespace

DEFINE_TACTIC(LayerNormGradientRows)

}  // namespace tuyere
