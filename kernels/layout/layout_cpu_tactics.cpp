// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/layout/layout_tactics.h"

namespace tuyere {
namespace {

// Copies of operator S.
template <class S>
Support copy_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<S>(p.op), kOtherOperator);
  return whole_bytes(p);
}

}  // namespace

void add_layout_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.reshape.tile", copy_supports<Reshape>, 1.2});
  add_reference_tactic<Reshape>(list, "reference.reshape");
  add_cpu_tactic(list, {"own.permute.tile", copy_supports<Permute>, 1.2});
  add_reference_tactic<Permute>(list, "reference.permute");
  add_cpu_tactic(list, {"own.expand.tile", copy_supports<Expand>, 1.2});
  add_reference_tactic<Expand>(list, "reference.expand");
  add_cpu_tactic(list, {"own.slice.tile", copy_supports<Slice>, 1.2});
  add_reference_tactic<Slice>(list, "reference.slice");
  add_cpu_tactic(list, {"own.concat.tile", copy_supports<Concat>, 1.2});
  add_reference_tactic<Concat>(list, "reference.concat");
  add_cpu_tactic(list, {"own.flip.tile", copy_supports<Flip>, 1.2});
  add_reference_tactic<Flip>(list, "reference.flip");
  add_cpu_tactic(list, {"own.pad.tile", copy_supports<Pad>, 1.2});
  add_reference_tactic<Pad>(list, "reference.pad");
}

}  // namespace tuyere
