// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/other_operator.h"
#include "kernels/codegen/transpose.h"
#include "kernels/layout/layout_gen.h"
#include "kernels/layout/layout_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

/// Reshape, Permute, Expand, Slice, Flip as a copy, tiled through shared memory.
class TransposeCopy final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.layout.transpose"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(is_view_or_flip(problem.op), kOtherOperator);
    REQUIRE(!is_empty(problem), "no elements");
    const auto e = view_elementwise(problem);
    REQUIRE(e && tile_plan(*e, problem.hints), "input and output have the same innermost dim");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target&, int level) const override {
    return tile_configs(*view_elementwise(problem), problem.hints, level);
  }
  Generated generate(const Problem& problem, const Target&, const Config& config) const override {
    const auto e = view_elementwise(problem);
    return {{transpose_kernel("transpose", *e, parse_tile_plan(config, *e, problem.hints))}, 0};
  }
};

/// Any of them with any strides.
class StridedCopy final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.layout.copy"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(is_view_or_flip(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const auto e = view_elementwise(problem);
    if (!e) return {{reshape_kernel(problem, target)}, 0};
    return {{elementwise_kernel("copy", *e, parse_shape_config(config, default_shape(*e, target, problem.hints)))}, 0};
  }
};

/// All inputs in one launch (24 at a time).
class ConcatInputs final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.layout.concat"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Concat>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return concat_kernels(problem, target); }
};

class PadTensor final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.layout.pad"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Pad>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{pad_kernel(problem, target)}, 0}; }
};

}  // namespace

void add_layout_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<TransposeCopy>());
  list.push_back(std::make_unique<StridedCopy>());
  list.push_back(std::make_unique<ConcatInputs>());
  list.push_back(std::make_unique<PadTensor>());
}

}  // namespace tuyere
