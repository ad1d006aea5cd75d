// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/gather/gather_tactics.h"

namespace tuyere {
namespace {

template <class S>
Support rows_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<S>(p.op), kOtherOperator);
  return whole_bytes(p);
}

}  // namespace

void add_gather_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.gather.rows", rows_supports<Gather>, 1.2});
  add_reference_tactic<Gather>(list, "reference.gather");
  add_cpu_tactic(list, {"own.gather_elements.walk", rows_supports<GatherElements>, 1.5});
  add_reference_tactic<GatherElements>(list, "reference.gather_elements");
  add_cpu_tactic(list, {"own.index.rows", rows_supports<Index>, 1.5});
  add_reference_tactic<Index>(list, "reference.index");
  add_cpu_tactic(list, {"own.scatter_elements.walk", rows_supports<ScatterElements>, 1.5});
  add_reference_tactic<ScatterElements>(list, "reference.scatter_elements");
  add_cpu_tactic(list, {"own.index_put.rows", rows_supports<IndexPut>, 1.5});
  add_reference_tactic<IndexPut>(list, "reference.index_put");
}

}  // namespace tuyere
