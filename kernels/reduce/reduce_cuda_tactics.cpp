// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/reduce/reduce_gen.h"
#include "kernels/reduce/reduce_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kSharedBytes = 48 << 10;  // what a block has without asking

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
    const ReduceForm form = reduce_form(problem);
    const ReducePlan best = default_plan(form, target, problem.hints, column_);
    std::vector<Config> out{str(best)};
    if (level < 3) return out;
    auto consider = [&](const ReducePlan& p) {
      const int threads = p.tx * p.ty;
      if (threads >= 32 && threads <= 1024 && (column_ ? threads * p.vec * accumulator_bytes(form) <= kSharedBytes : p.ty <= 32 || p.tx == 1) &&
          std::find(out.begin(), out.end(), str(p)) == out.end())
        out.push_back(str(p));
    };
    // Threads of a block, bytes of neighbouring outputs.
    constexpr int kAlone[][2] = {{512, 64}, {256, 512}, {1024, 128}, {512, 256}, {512, 128}};
    if (column_)
      for (const auto& [threads, bytes] : kAlone)
        if (const auto plan = cluster_plan(form, target, problem.hints, threads, bytes)) consider(*plan);
    // A block of a long reduction: threads, blocks per multiprocessor, accesses under way.
    constexpr int kFilling[][3] = {{256, 4, 8}, {512, 2, 8}, {256, 8, 4}, {512, 4, 4}, {256, 2, 8}};
    if (column_ || best.tx == 1)
      for (const auto& [threads, blocks, unroll] : kFilling) {
        const ReducePlan plan = filling_plan(form, target, problem.hints, column_, threads, blocks, unroll);
        consider(plan);
        ReducePlan even = plan;  // as many accesses for every thread, where their number is a power of two
        while (even.split & (even.split - 1)) even.split &= even.split - 1;
        consider(even);
      }
    if (ReducePlan single = best; single.chunks) {
      single.chunks = false;
      single.vec = std::min(single.vec, 4);
      consider(single);
    }
    for (int factor : {2, 4})
      for (int direction : {0, 1, 2}) {
        ReducePlan p = best;
        if (direction == 0) p.split *= factor;
        if (direction == 1) p.split = std::max(1, p.split / factor);
        if (direction == 2) p.ty *= factor;
        consider(p);
      }
    if (best.split == 1 && !column_) {
      ReducePlan lanes = best;
      for (int ty : {8, 16, 32, 128}) {
        lanes.ty = ty;
        lanes.tx = ty <= 32 ? 256 / ty : 1;
        consider(lanes);
        lanes.unroll = 8;
        if (ty < 32) consider(lanes);
        lanes.unroll = best.unroll;
      }
    }
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
