// SPDX-License-Identifier: Apache-2.0
// Whether the node's device has a kernel for a layer: asked of the candidates themselves.
#include "common/error.h"
#include "converters/aten/rows.h"
#include "kernels/api/other_operator.h"
#include "kernels/api/tactics.h"

namespace tuyere {
namespace {

/// The oldest architecture that plans are made for: what its candidates take, those of newer ones take too.
Target target_of(const std::string& device) {
  Target target;
  target.present = false;
  if (!device.starts_with("cuda")) return target;
  target.kind = Target::Kind::Cuda;
  target.sm = 80, target.multiprocessors = 108;
  return target;
}

/// No with the reason of the most general candidate (they are the last). References compute anything, slower than PyTorch does.
Support has_kernel(const Problem& problem, const Target& target) {
  Support answer = Support::no("it has no kernels");
  for (const auto& tactic : tactics(problem.op, target)) {
    if (tactic->source() == "reference") continue;
    if (Support s = tactic->supports(problem, target); s || s.reason() != kOtherOperator) answer = s;
    if (answer) return answer;
  }
  return answer;
}

}  // namespace

std::vector<TensorId> add_native(Convert& c, Op op, std::vector<TensorId> inputs) {
  Problem problem;
  problem.op = op;
  std::vector<std::string> symbols;
  const auto describe = [&](TensorId id) {
    const TensorType type = c.type(id);
    for (const Dim& d : type.shape) d.collect(symbols);
    return desc(type.dtype, type.shape);
  };
  for (TensorId id : inputs) problem.in.push_back(describe(id));
  const std::vector<TensorId> outputs = c.add_n(std::move(op), std::move(inputs));
  for (TensorId id : outputs) problem.out.push_back(describe(id));
  for (const std::string& symbol : symbols) problem.hints.set(symbol, 64);
  for (ValueId id : c.node.outputs) {
    const SourceValue& value = c.graph.values.at(id);
    if (!value.has_type) continue;
    const Support kernel = has_kernel(problem, target_of(value.device));
    USER_CHECK(kernel, "there is no kernel for it on " << value.device << ": " << kernel.reason());
  }
  return outputs;
}

}  // namespace tuyere
