// SPDX-License-Identifier: Apache-2.0
#include "kernels/sort/sort_gen.h"
#include "kernels/sort/sort_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

bool is_sort(const Op& op) { return std::holds_alternative<Sort>(op) || std::holds_alternative<TopK>(op); }

/// A line in the shared memory of one block.
class BlockSort final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.sort.block"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(is_sort(problem.op), "not a sort problem");
    REQUIRE(block_capacity(sort_form(problem)) > 0, "the line does not fit shared memory, or its length is not constant");
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target&, const Config&) const override { return sort_block_kernels(problem); }
};

/// Lines of any length through the workspace.
class MergeSort final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.sort.merge"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(is_sort(problem.op), "not a sort problem");
    return Support::yes();
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    return 20e-6 + 10 * Tactic::estimate(problem, target, config);
  }
  Generated generate(const Problem& problem, const Target&, const Config&) const override { return sort_merge_kernels(problem); }
};

}  // namespace

void add_sort_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<BlockSort>());
  list.push_back(std::make_unique<MergeSort>());
}

}  // namespace tuyere
