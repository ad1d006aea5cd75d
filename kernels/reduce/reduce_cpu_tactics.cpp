// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/reduce/reduce_tactics.h"

namespace tuyere {
namespace {

Support tile_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<Reduce>(p.op), kOtherOperator);
  return whole_bytes(p);
}

Support arg_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<ArgReduce>(p.op), kOtherOperator);
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32, "values are compared in f32");
  return whole_bytes(p);
}

}  // namespace

void add_reduce_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.reduce.tile", tile_supports, 1.5});
  add_reference_tactic<Reduce>(list, "reference.reduce");
  add_cpu_tactic(list, {"own.arg_reduce.tile", arg_supports, 1.5});
  add_reference_tactic<ArgReduce>(list, "reference.arg_reduce");
}

}  // namespace tuyere
