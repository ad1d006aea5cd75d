// SPDX-License-Identifier: Apache-2.0
// The tactics of CPU kernels: a name, a predicate and a speed relative to the machine's roofline.
#pragma once
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/api/other_operator.h"
#include "kernels/api/tactic.h"

namespace tuyere {

using CpuSupports = Support (*)(const Problem&);

/// One CPU kernel as a candidate. `source` is the first word of the name. slowdown: time relative to traffic and FLOPs at full rate.
/// library_workspace: the kernel asks for memory that only prepare knows (Executor::workspace); the spec then carries a small non-zero expression.
struct CpuTacticRow {
  std::string_view name;
  CpuSupports supports;
  double slowdown = 1;
  bool library_workspace = false;
  std::vector<Config> (*configs)(const Problem&) = nullptr;  // none: the empty one only
};
void add_cpu_tactic(TacticList& list, const CpuTacticRow& row);

/// Says no unless the problem's operator is S and the target is the CPU's (checked by the tactic itself).
template <class S>
Support is_op(const Problem& p) {
  REQUIRE(std::holds_alternative<S>(p.op), kOtherOperator);
  return Support::yes();
}

/// The reference kernel of operator S, "reference.<op>".
template <class S>
void add_reference_tactic(TacticList& list, std::string_view name) {
  add_cpu_tactic(list, {name, is_op<S>, 200});
}

/// Whether every tensor's type has whole-byte elements, as tiles need.
Support whole_bytes(const Problem& p);

}  // namespace tuyere
