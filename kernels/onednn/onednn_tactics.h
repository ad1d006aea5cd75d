// SPDX-License-Identifier: Apache-2.0
// What the oneDNN tactics of the families share.
#pragma once
#include "kernels/api/tactic.h"

namespace tuyere {

/// Whether libdnnl can be opened on this machine, in a build that has its headers.
bool onednn_available();
/// Types and ranks of matmul and convolution.
Support onednn_gemm_supports(const Problem& p);

}  // namespace tuyere
