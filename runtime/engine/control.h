// SPDX-License-Identifier: Apache-2.0
// Steps that run other bodies of the plan. Inputs and outputs are passed in order; the bodies' arenas lie in the step's workspace.
//   "call"   outputs = body(inputs)
//   "if"     outputs = inputs[0] ? then(inputs[1..]) : else(inputs[1..])       bodies {then, else}; inputs[0] is one bool
//   "while"  state = inputs; while (cond(state)) state = loop(state); outputs = state       bodies {cond, loop}
// On a GPU "if" and "while" wait for the stream to read their condition.
#pragma once
#include "runtime/engine/prepared.h"

namespace tuyere {

/// Whether the step may be captured into a CUDA graph: it launches work and does nothing else.
bool is_capturable(const Plan& plan, const PlanStep& step);

struct ControlArgs {
  const Plan& plan;
  const PlanStep& step;
  std::vector<TensorView> in, out;
  int device;
  DeviceApi* api;  // GPU plans
  std::shared_ptr<const ConstantSet> constants;
};

/// A prepared control step and the bytes of workspace it needs.
struct ControlStep {
  std::unique_ptr<Executable> code;
  int64_t workspace = 0;
};
Result<ControlStep> prepare_control(const ControlArgs& args);

}  // namespace tuyere
