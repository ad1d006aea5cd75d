// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/other_operator.h"
#include "kernels/resize/resize_gen.h"
#include "kernels/resize/resize_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

class TapResize final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.resize.taps"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Resize>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{resize_kernel(problem, target)}, 0}; }
};

}  // namespace

void add_resize_cuda_tactics(TacticList& list) { list.push_back(std::make_unique<TapResize>()); }

}  // namespace tuyere
