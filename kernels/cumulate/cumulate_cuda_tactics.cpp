// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/cumulate/cumulate_gen.h"
#include "kernels/cumulate/cumulate_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

class CumulateTactic : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Cumulate>(problem.op), kOtherOperator);
    return Support::yes();
  }
};

/// A block scans a line: few long lines.
class BlockScan final : public CumulateTactic {
 public:
  std::string_view name() const override { return "own.cumulate.block"; }
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    const auto [lines, length] = cumulate_extent(problem);
    const double waves = static_cast<double>(lines) / (4.0 * std::max(target.multiprocessors, 1));
    return 3e-6 + std::max(waves, 1.0) * (static_cast<double>(length) / 1024.0 + 1) * 1e-6;
  }
  Generated generate(const Problem& problem, const Target&, const Config&) const override { return {{cumulate_block_kernel(problem)}, 0}; }
};

/// A thread walks a line: many short lines.
class LineScan final : public CumulateTactic {
 public:
  std::string_view name() const override { return "own.cumulate.line"; }
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    const auto [lines, length] = cumulate_extent(problem);
    const double waves = static_cast<double>(lines) / (1024.0 * std::max(target.multiprocessors, 1));
    return 3e-6 + std::max(waves, 1.0) * static_cast<double>(length) * 2e-7;
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{cumulate_line_kernel(problem, target)}, 0}; }
};

}  // namespace

void add_cumulate_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<BlockScan>());
  list.push_back(std::make_unique<LineScan>());
}

}  // namespace tuyere
