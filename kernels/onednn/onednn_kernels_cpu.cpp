// SPDX-License-Identifier: Apache-2.0
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {

void add_onednn_kernels([[maybe_unused]] CpuKernelTable& table) {
#ifdef TUYERE_WITH_ONEDNN
  table.push_back({"onednn.matmul", prepare_onednn_matmul, workspace_onednn_matmul});
  table.push_back({"onednn.conv", prepare_onednn_conv, workspace_onednn_conv});
  table.push_back({"onednn.conv_weight_gradient", prepare_onednn_weight_gradient, workspace_onednn_weight_gradient});
  table.push_back({"onednn.pool", prepare_onednn_pool, workspace_onednn_pool});
#endif
}

}  // namespace tuyere::cpu
