// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/reduce/reduce_tactics.h"

namespace tuyere {

void add_reduce_cpu_tactics(TacticList& list) {
  add_reference_tactic<Reduce>(list, "reference.reduce");
  add_reference_tactic<ArgReduce>(list, "reference.arg_reduce");
}

}  // namespace tuyere
