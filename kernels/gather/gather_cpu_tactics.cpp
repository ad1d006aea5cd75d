// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/gather/gather_tactics.h"

namespace tuyere {
namespace {

Support rows_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Gather>(p.op), "the kernel is for another operator");
  return whole_bytes(p);
}

}  // namespace

void add_gather_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.gather.rows", rows_supports, 1.2});
  add_reference_tactic<Gather>(list, "reference.gather");
  add_reference_tactic<GatherElements>(list, "reference.gather_elements");
  add_reference_tactic<Index>(list, "reference.index");
  add_reference_tactic<ScatterElements>(list, "reference.scatter_elements");
  add_reference_tactic<IndexPut>(list, "reference.index_put");
}

}  // namespace tuyere
