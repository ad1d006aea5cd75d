// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/pointwise/pointwise_tactics.h"

namespace tuyere {
namespace {

Support tile_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Pointwise>(p.op), kOtherOperator);
  return whole_bytes(p);
}

}  // namespace

void add_pointwise_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.pointwise.tile", tile_supports, 1.2});
  add_reference_tactic<Pointwise>(list, "reference.pointwise");
}

}  // namespace tuyere
