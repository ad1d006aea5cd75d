// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/reduce/reduce_gen.h"
#include "kernels/reduce/reduce_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

class ReduceTactic : public CudaTactic {
 public:
  explicit ReduceTactic(bool column) : column_(column) {}

  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Reduce>(problem.op) || std::holds_alternative<ArgReduce>(problem.op), kOtherOperator);
    if (column_) REQUIRE(prefers_column(reduce_form(problem), problem.hints), "neighbouring outputs do not read neighbouring inputs");
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (is_empty(problem)) return {""};
    const ReducePlan best = default_plan(reduce_form(problem), target, problem.hints, column_);
    std::vector<Config> out{str(best)};
    if (level < 3) return out;
    auto consider = [&](ReducePlan p) {
      const int threads = p.tx * p.ty;
      if (threads >= 32 && threads <= 1024 && (column_ ? threads * p.vec <= 2048 : p.ty <= 32 || p.tx == 1) &&
          std::find(out.begin(), out.end(), str(p)) == out.end())
        out.push_back(str(p));
    };
    for (int factor : {2, 4})
      for (int direction : {0, 1, 2}) {
        ReducePlan p = best;
        if (direction == 0) p.split *= factor;
        if (direction == 1) p.split = std::max(1, p.split / factor);
        if (direction == 2) p.ty *= factor;
        consider(p);
      }
    if (const ReducePlan wide = wide_columns(reduce_form(problem), best); wide.vec > best.vec) {
      consider(wide);
      consider({true, wide.vec, wide.tx, wide.ty, wide.split * 2});
    }
    for (int blocks : {4, 8}) consider(evened(reduce_form(problem), wide_columns(reduce_form(problem), best), blocks, target, problem.hints));
    ReducePlan warp = best;
    warp.ty = 32;
    warp.tx = column_ ? best.tx : 4;
    if (best.split == 1) consider(warp);
    return out;
  }

  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const ReduceForm form = reduce_form(problem);
    const ReducePlan plan = parse_plan(config, default_plan(form, target, problem.hints, column_));
    return reduce_kernels(form, plan, static_cast<int>(problem.in.size() + problem.out.size()));
  }

 private:
  /// Whole 16-byte pieces per thread: fewer threads along the outputs, more along the sums.
  ReducePlan wide_columns(const ReduceForm& form, ReducePlan plan) const {
    const int vec = row_vector(form.rows, form.inputs, true);
    if (!column_ || vec <= plan.vec || plan.tx < 2 || is_arg_or_var(form)) return plan;
    plan.tx = plan.tx * plan.vec / vec > 0 ? plan.tx * plan.vec / vec : 1;
    plan.ty = plan.ty * vec / plan.vec;
    plan.vec = vec;
    return plan;
  }
  /// Split so that each multiprocessor gets about `blocks` blocks: a few large ones leave many of them idle at the end.
  ReducePlan evened(const ReduceForm& form, ReducePlan plan, int blocks, const Target& target, const Symbols& hints) const {
    if (!column_) return plan;
    const int64_t columns = std::max<int64_t>(hint(numel(form.rows.outer.size), hints) / plan.vec, 1), now = (columns + plan.tx - 1) / plan.tx;
    const int64_t rounds = hint(numel(form.rows.inner.size), hints) / plan.ty, wanted = int64_t{blocks} * std::max(target.multiprocessors, 1);
    plan.split = static_cast<int>(std::clamp<int64_t>((wanted + now - 1) / now, 1, std::clamp<int64_t>(rounds / 8, 1, 256)));
    return plan;
  }
  /// Accumulators of several words: eight of them per thread do not fit the shared memory.
  static bool is_arg_or_var(const ReduceForm& form) { return form.kind == "var" || form.kind == "argmax" || form.kind == "argmin"; }

  bool column_;
};

/// Lanes run along the reduced elements: innermost reductions, and every other one, if slower.
class RowReduce final : public ReduceTactic {
 public:
  RowReduce() : ReduceTactic(false) {}
  std::string_view name() const override { return "own.reduce.row"; }
};

/// Lanes run along the outputs: reductions of outer dims, means over H and W in NHWC.
class ColumnReduce final : public ReduceTactic {
 public:
  ColumnReduce() : ReduceTactic(true) {}
  std::string_view name() const override { return "own.reduce.column"; }
};

}  // namespace

void add_reduce_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<ColumnReduce>());
  list.push_back(std::make_unique<RowReduce>());
}

}  // namespace tuyere
