// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/cumulate/cumulate_tactics.h"

namespace tuyere {

namespace {

Support lines_support(const Problem& p) {
  REQUIRE(std::holds_alternative<Cumulate>(p.op), kOtherOperator);
  return whole_bytes(p);
}

}  // namespace

void add_cumulate_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.cumulate.lines", lines_support, 2});
  add_reference_tactic<Cumulate>(list, "reference.cumulate");
}

}  // namespace tuyere
