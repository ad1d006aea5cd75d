// SPDX-License-Identifier: Apache-2.0
#include "core/builder/evaluate.h"

#include "core/builder/choose.h"
#include "core/builder/emit.h"
#include "core/builder/placement.h"
#include "core/builder/problems.h"
#include "core/builder/weights.h"

namespace tuyere {

PlanBody emit_on_cpu(Network& network, const std::vector<std::string>& outputs, int num_threads) {
  const Placement placement = place(network);
  BuilderConfig config;
  config.optimization_level = 0;
  config.num_threads = num_threads;
  TimingCache none("");
  ChooseStats stats;
  const std::vector<Problem> problems = make_problems(network, 0, placement, {}, true);
  const std::vector<Choice> choices = choose(problems, find_target("cpu"), config, none, stats);
  return emit_body({network, placement, problems, choices, {}, outputs});
}

std::vector<std::byte> evaluate(Network network, int num_threads) {
  const std::string output = "value";
  name_constants(network);
  const PlanBody body = emit_on_cpu(network, {output}, num_threads);
  PlanConstants constants;
  for (const Tensor& tensor : network.main().tensors) {
    if (tensor.constant < 0) continue;
    const Constant& constant = network.constants[tensor.constant];
    constants[file_name(constant)] = stored_constant(constant, tensor.type);
  }
  const PlanConstant value = run_weight_body(body, constants).at(output);
  const auto* data = static_cast<const std::byte*>(value.data);
  return {data, data + value.bytes};
}

}  // namespace tuyere
