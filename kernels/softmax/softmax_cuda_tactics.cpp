// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/kernel.h"
#include "kernels/softmax/softmax_tactics.h"

namespace tuyere {

void add_softmax_cuda_tactics(TacticList& list) {
  ADD_TACTIC(list, RegisterSoftmax);
  ADD_TACTIC(list, PanelSoftmax);
  ADD_TACTIC(list, SplitPanelSoftmax);
  ADD_TACTIC(list, ColumnSoftmax);
  ADD_TACTIC(list, LoopSoftmax);
}

}  // namespace tuyere
