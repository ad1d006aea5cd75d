// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/step.h"

namespace tuyere {

int64_t TensorView::numel() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

const Symbols& PrepareArgs::known_symbols() const {
  static const Symbols none;
  return symbols ? *symbols : none;
}

Result<int64_t> Executor::workspace(const StepSpec& spec, const PrepareArgs& args) {
  int64_t bytes = 0;
  if (spec.workspace.try_eval(args.known_symbols(), &bytes)) return bytes;
  return Status(Code::Internal, "the workspace " + spec.workspace.str() + " of a " + spec.executor + " step has no value for these shapes");
}

}  // namespace tuyere
