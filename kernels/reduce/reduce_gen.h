// SPDX-License-Identifier: Apache-2.0
// Generator of reductions: a group of threads combines the elements of each output, in a fixed order.
#pragma once
#include <optional>
#include <string>

#include "kernels/codegen/rows.h"

namespace tuyere::codegen {

/// What Reduce, ArgReduce and global AdaptivePool have in common.
struct ReduceForm {
  Rows rows;         // tensors: the prologue's inputs, the epilogue's further inputs, the output
  int inputs = 1;    // of the prologue
  std::string kind;  // accumulator: "sum", "mean", "max", "min", "prod", "any", "all", "var", "argmax", "argmin"
  double correction = 0;
  Program prologue, epilogue;
  DType value = DType::F32;     // compute type of the reduced values
  DType type = DType::F32;      // dtype of the output
  std::string name = "reduce";  // of the kernel: unique in its source
};
ReduceForm reduce_form(const Problem& problem);
/// The form of any reduction of in[0..inputs-1] over `axes` (non-negative) to problem.out[0].
ReduceForm reduce_form_over(const Problem& problem, const std::vector<int>& axes, bool keepdim, int inputs);

/// What one accumulator takes: a block of columns keeps one per thread and element of a vector in shared memory.
int accumulator_bytes(const ReduceForm& form);

/// column: lanes run along the outputs (vec outputs per thread), otherwise along the reduced elements (vec of them per access).
/// tx outputs (of vec each) by ty threads form a block; `split` blocks share an output: one cluster of so many, or a second kernel merges them. `unroll`
/// accesses per thread are under way at a time. chunks: columns compare so many neighbouring rows at a time, when an extreme is looked for.
struct ReducePlan {
  bool column = false;
  int vec = 1, tx = 1, ty = 256, split = 1, unroll = 4, cluster = 1;
  bool chunks = false;
};
ReducePlan default_plan(const ReduceForm& form, const Target& target, const Symbols& hints, bool column);
/// For tensors of many times the caches: accesses of 16 bytes, and as many blocks as `per_multiprocessor` of the device's multiprocessors hold at a time.
ReducePlan filling_plan(const ReduceForm& form, const Target& target, const Symbols& hints, bool column, int threads, int per_multiprocessor, int unroll);
/// Blocks that fill the device, of `bytes` of neighbouring outputs: alone, or as clusters that share outputs. Nothing when no such blocks fill it.
std::optional<ReducePlan> cluster_plan(const ReduceForm& form, const Target& target, const Symbols& hints, int threads, int bytes);
/// Whether lanes along the outputs read neighbouring elements.
bool prefers_column(const ReduceForm& form, const Symbols& hints);
std::string str(const ReducePlan& plan);
ReducePlan parse_plan(const Config& config, const ReducePlan& fallback);
Generated reduce_kernels(const ReduceForm& form, const ReducePlan& plan, int workspace_position);

}  // namespace tuyere::codegen
