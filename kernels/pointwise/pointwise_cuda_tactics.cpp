// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/elementwise.h"
#include "kernels/codegen/transpose.h"
#include "kernels/pointwise/pointwise_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

/// Vectorized along the outputs' innermost dim where that is possible, one element at a time otherwise: any strides, types and sizes.
class VectorPointwise final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.pointwise.vector"; }

  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Pointwise>(problem.op), kOtherOperator);
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (is_empty(problem)) return {""};
    const Elementwise e = pointwise_elementwise(problem);
    const ElementwiseShape best = default_shape(e, target, problem.hints);
    std::vector<Config> out{str(best)};
    if (level < 3) return out;
    for (ElementwiseShape s : {ElementwiseShape{best.vec, best.unroll * 2, best.threads},
                               {best.vec, 1, best.threads},
                               {best.vec, best.unroll, 128},
                               {std::max(best.vec / 2, 1), best.unroll * 2, best.threads}})
      if (s.unroll <= 8 && std::find(out.begin(), out.end(), str(s)) == out.end()) out.push_back(str(s));
    return out;
  }

  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const Elementwise e = pointwise_elementwise(problem);
    return {{elementwise_kernel("pointwise", e, parse_shape_config(config, default_shape(e, target, problem.hints)))}, 0};
  }
};

/// Tiles through shared memory, for inputs whose innermost dim differs from the outputs'.
class TransposePointwise final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.pointwise.transpose"; }

  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Pointwise>(problem.op), kOtherOperator);
    REQUIRE(!is_empty(problem), "no elements");
    REQUIRE(tile_plan(pointwise_elementwise(problem), problem.hints), "no input is transposed");
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target&, int level) const override {
    return tile_configs(pointwise_elementwise(problem), problem.hints, level);
  }
  Generated generate(const Problem& problem, const Target&, const Config& config) const override {
    const Elementwise e = pointwise_elementwise(problem);
    return {{transpose_kernel("pointwise", e, parse_tile_plan(config, e, problem.hints))}, 0};
  }
};

}  // namespace

void add_pointwise_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<TransposePointwise>());
  list.push_back(std::make_unique<VectorPointwise>());
}

}  // namespace tuyere
