// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/sort/sort_tactics.h"

namespace tuyere {
namespace {

template <class S>
Support keys_support(const Problem& p) {
  REQUIRE(std::holds_alternative<S>(p.op), kOtherOperator);
  const DType type = compute_type(p.in[0].dtype);
  REQUIRE(type == DType::F32 || type == DType::I32, "keys have 32 bits");
  return whole_bytes(p);
}

}  // namespace

void add_sort_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.topk.keys", keys_support<TopK>, 4});
  add_reference_tactic<TopK>(list, "reference.topk");
  add_cpu_tactic(list, {"own.sort.keys", keys_support<Sort>, 10});
  add_reference_tactic<Sort>(list, "reference.sort");
}

}  // namespace tuyere
