// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/softmax/softmax_gen.h"
#include "kernels/softmax/softmax_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kRegisterValues = 32;  // per thread

class SoftmaxTactic : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target& target) const override {
    REQUIRE(std::holds_alternative<Softmax>(problem.op), kOtherOperator);
    REQUIRE(!is_empty(problem), "no elements");
    return restrictions(softmax_form(problem), problem, target);
  }

 protected:
  virtual Support restrictions(const SoftmaxForm&, const Problem&, const Target&) const { return Support::yes(); }
};

/// The row stays in registers: one read, one write.
class RegisterSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.register"; }
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target& target) const override {
    REQUIRE(is_static(form.rows.inner.size), "the length of the axis is not constant");
    REQUIRE(default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues).keep > 0, "the row does not fit the registers of a block");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    const SoftmaxForm form = softmax_form(problem);
    const RowPlan best = default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues);
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
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    return {{softmax_row_kernel(form, parse_row_plan(config, default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues)))}, 0};
  }
};

/// Lanes along neighbouring rows.
class ColumnSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.column"; }
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target&) const override {
    REQUIRE(form.rows.outer.rank() > 0 && form.rows.outer.strides[form.inputs].back().is_const(1), "neighbouring rows are not neighbours in memory");
    REQUIRE(hint(form.rows.outer.size.back(), problem.hints) >= 4, "too few neighbouring rows");
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target&, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const int64_t lanes = hint(form.rows.outer.size.back(), problem.hints), n = hint(numel(form.rows.inner.size), problem.hints);
    int tx = 32, ty = 8;
    while (tx > 8 && tx / 2 >= lanes) tx /= 2;
    while (ty > 1 && ty * 2 > n && tx * ty > 32) ty /= 2;
    return {{softmax_column_kernel(form, config_int(config, "tx", tx), config_int(config, "ty", ty))}, 0};
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
    RowPlan plan = default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues);
    plan.keep = 0;
    return {{softmax_row_kernel(form, plan)}, 0};
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    RowPlan plan = default_row_plan(form.rows, form.inputs, target, problem.hints, kRegisterValues);
    plan.keep = 0;
    const bool strided = form.rows.inner.rank() > 0 && !form.rows.inner.strides[0].back().is_const(1);
    return Tactic::estimate(problem, target, config) * row_slowdown(form.rows, plan, target, problem.hints) * (strided ? 4 : 1);
  }
};

}  // namespace

void add_softmax_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<RegisterSoftmax>());
  list.push_back(std::make_unique<ColumnSoftmax>());
  list.push_back(std::make_unique<LoopSoftmax>());
}

}  // namespace tuyere
