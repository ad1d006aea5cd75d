// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_tactics.h"
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/onednn/onednn_tactics.h"

namespace tuyere {
namespace {

Support library_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Conv>(p.op), kOtherOperator);
  return onednn_gemm_supports(p);
}

/// The library prefers its batched small GEMMs, but on plain layouts its other generated code is now and then faster: both are timed.
std::vector<Config> library_configs(const Problem& p) {
  const auto& op = std::get<Conv>(p.op);
  const bool plain = p.in[0].rank() == static_cast<int>(op.stride.size()) + 2 && p.in[1].rank() == p.in[0].rank();
  if (!plain || op.transposed || p.in[0].dtype != DType::F32) return {""};
  return {"", "jit"};
}

}  // namespace

void add_conv_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"onednn.conv", library_supports, 1.2, true, library_configs});
  add_reference_tactic<Conv>(list, "reference.conv");
}

}  // namespace tuyere
