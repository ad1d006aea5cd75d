// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/reduce/reduce_tactics.h"

namespace tuyere {
namespace {

Support tile_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Reduce>(p.op), "the kernel is for another operator");
  return whole_bytes(p);
}

}  // namespace

void add_reduce_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.reduce.tile", tile_supports, 1.5});
  add_reference_tactic<Reduce>(list, "reference.reduce");
  add_reference_tactic<ArgReduce>(list, "reference.arg_reduce");
}

}  // namespace tuyere
