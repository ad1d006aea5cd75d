// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/fill/fill_tactics.h"

namespace tuyere {
namespace {

Support dense_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Fill>(p.op), kOtherOperator);
  return whole_bytes(p);
}

}  // namespace

void add_fill_cpu_tactics(TacticList& list) {
  add_reference_tactic<Iota>(list, "reference.iota");
  add_cpu_tactic(list, {"own.fill.dense", dense_supports, 1});
  add_reference_tactic<Fill>(list, "reference.fill");
}

}  // namespace tuyere
