// SPDX-License-Identifier: Apache-2.0
// A pass is one function in one file; the pipeline is one array (pipeline.cpp); the manager does the house-keeping.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/network/network.h"
#include "kernels/api/problem.h"

namespace tuyere {

struct PassContext {
  Target target;
  std::string precision = "as_is";  // as_is, fp32, tf32, fp16, bf16
  bool own_only = false;            // tactic_sources without closed libraries
  Symbols hints;
  bool tf32_matmul = false, tf32_conv = false;  // PyTorch's flags: products of f32 data may use TF32 on CUDA targets
  /// The values of the only output of a network without inputs and parameters, row-major; none: nothing can be computed ahead.
  std::function<std::vector<std::byte>(const Network&)> evaluate;
  bool own_kernels = true;    // tactic_sources has them
  int64_t channel_block = 0;  // CPU targets: channels of f32 that convolutions like side by side in memory; 0: any
};

/// true = changed.
using PassFn = bool (*)(Network&, const PassContext&);
struct Pass {
  std::string_view name;
  PassFn run;
  Phase after = Phase::converted;  // what validate() may demand after it
};

struct PassTrace {
  std::string name;
  bool changed;
  double seconds;
  int layers_before, layers_after;
};

struct PassOptions {
  std::vector<std::string> disabled;  // by name; an unknown name is an Error{User} that lists the names
  bool validate = true;
};
/// Runs the pipeline: per pass disable, time, trace, validate, compact when it changed, and an ErrorFrame "in pass <name>".
std::vector<PassTrace> run_passes(Network& network, const PassContext& context, const PassOptions& options = {});
/// The pipeline, in order.
const std::vector<Pass>& pipeline();

}  // namespace tuyere
