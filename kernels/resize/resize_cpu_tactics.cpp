// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/resize/resize_tactics.h"

namespace tuyere {
namespace {

Support taps_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Resize>(p.op), kOtherOperator);
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32, "sums are kept in f32");
  return whole_bytes(p);
}

}  // namespace

void add_resize_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.resize.taps", taps_supports, 3});
  add_reference_tactic<Resize>(list, "reference.resize");
}

}  // namespace tuyere
