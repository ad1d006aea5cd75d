// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/follow_up.h"

#include "common/error.h"
#include "kernels/api/cuda_step.h"
#include "kernels/pointwise/pointwise_tactics.h"

namespace tuyere {
namespace {

constexpr size_t kOperands = 2;  // inputs of the main operation

Problem pointwise_problem(const Problem& problem, const Program& epilogue) {
  Problem p;
  Pointwise op;
  op.program = epilogue;
  p.in.push_back(problem.out[0]);
  p.in.insert(p.in.end(), problem.in.begin() + kOperands, problem.in.end());
  p.out = problem.out;
  for (const TensorDesc& out : p.out) op.types.push_back(out.dtype);
  p.op = std::move(op);
  p.hints = problem.hints;
  p.deterministic = problem.deterministic;
  return p;
}

const Tactic& pointwise_tactic() {
  static const TacticList list = [] {
    TacticList made;
    add_pointwise_cuda_tactics(made);
    return made;
  }();
  for (const auto& tactic : list)
    if (tactic->name() == "own.pointwise.vector") return *tactic;
  throw_error(Fault::Internal, __FILE__, __LINE__, "there is no tactic own.pointwise.vector");
}

}  // namespace

FollowUp follow_up(const Problem& problem, const Program& epilogue, const Target& target) {
  const Problem p = pointwise_problem(problem, epilogue);
  const Tactic& tactic = pointwise_tactic();
  const Support support = tactic.supports(p, target);
  INTERNAL_CHECK(static_cast<bool>(support), "no kernel for the epilogue " << str(epilogue) << ": " << support.reason());
  const StepSpec spec = tactic.make(p, target, tactic.configs(p, target, 0).front());
  Result<CudaStep> step = parse_cuda_step(spec.attrs);
  INTERNAL_CHECK(step.is_ok() && spec.workspace.is_const(0), "a pointwise step without a workspace was expected");
  const int inputs = static_cast<int>(p.in.size()), all = static_cast<int>(problem.in.size());
  for (KernelLaunch& launch : step->launches)
    for (KernelArg& arg : launch.args)
      if (arg.kind == KernelArg::Kind::pointer || arg.kind == KernelArg::Kind::tensor_map)
        arg.pointer = arg.pointer == 0 ? all : arg.pointer < inputs ? arg.pointer + 1 : all + arg.pointer - inputs;
  return {to_json(*step), spec.blobs};
}

double follow_up_bytes(const Problem& problem) { return static_cast<double>(traffic_bytes(pointwise_problem(problem, Program{}))); }

}  // namespace tuyere
